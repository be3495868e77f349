#!/usr/bin/env python3
"""A provider of one's own: its cloud is a JSON file. One request on stdin, one answer on stdout (docs/clouds/exec.md)."""
import fcntl, json, os, sys, time

def ensure(cloud, target, order, now):
    fence = [order["fence"][part] for part in ("claim", "epoch", "seq")]
    if fence < (cloud["fence"] or fence):
        return {"progress": "stale", "why": f"fence {cloud['fence']} was first"}
    cloud["fence"] = fence
    desired, state = order["desired"], order["desired"]["state"]
    candidate, baseline = desired["candidate"]["name"], desired["baseline"]["name"]
    if candidate == baseline:
        return {"progress": "settled"}
    if state == "promoted":
        share, needed, unwanted = 100, [candidate], baseline
    elif state in ("reverted", "withdrawn"):
        share, needed, unwanted = 0, [baseline], candidate if state == "withdrawn" else None
    elif "traffic" in state["serving"]:
        share, needed, unwanted = float(state["serving"]["traffic"].rstrip("%")), [candidate, baseline], None
    else:
        sys.exit("a file can neither mirror traffic nor route it by audience")
    cloud["versions"] = {version: now + target["with"].get("startSeconds", 2) for version in needed} | cloud["versions"]
    # Capacity before traffic; on the way down the candidate's capacity does not matter.
    for version in [baseline] if share < cloud["traffic"].get(candidate, 0) else needed:
        if version in cloud["broken"]:
            return {"progress": "stuck", "why": cloud["broken"][version]}
        if now < cloud["versions"][version]:
            return {"progress": "moving", "why": f"{version} starts"}
    traffic = {version: part for version, part in ((candidate, share), (baseline, 100 - share)) if part}
    if traffic != cloud["traffic"]:
        cloud.update(traffic=traffic, shifted=now)
    if unwanted in cloud["versions"] and now < cloud["shifted"] + target["ladder"]["drainSeconds"]:
        return {"progress": "moving", "why": f"{unwanted} drains"}
    cloud["versions"].pop(unwanted, None)
    return {"progress": "settled"}

def observe(cloud, target, now):
    name, parts, ready = target["releaseName"], cloud["traffic"], lambda v: v not in cloud["broken"] and now >= cloud["versions"][v]
    seen = [{"version": {"name": v}, "share": f"{parts.get(v, 0):g}%", "instances": 1, "ready": int(ready(v))} for v in cloud["versions"]]
    return {"observed": {
        "serving": {"name": max(parts, key=parts.get)}, "candidate": {"name": name}, "candidateShare": f"{parts.get(name, 0):g}%",
        "isSettled": all(map(ready, cloud["versions"])), "versions": seen,
        "diagnosis": next((why for v, why in cloud["broken"].items() if v in cloud["versions"]), None),
        "fence": dict(zip(("claim", "epoch", "seq"), cloud["fence"])) if cloud["fence"] else None}}

request = json.load(sys.stdin)
target, path = request["target"], os.path.realpath(request["target"]["with"]["file"])
if request["verb"] == "identify":
    answer = {"identity": path}
elif not os.path.exists(path):
    sys.exit(f"there is no cloud at {path}")
else:
    fcntl.flock(lock := open(path + ".lock", "w"), fcntl.LOCK_EX)  # one order at a time, until this program ends
    cloud, before, now = json.load(open(path)), json.load(open(path)), time.time()
    answer = observe(cloud, target, now) if request["verb"] == "observe" else ensure(cloud, target, request["order"], now)
    if cloud != before:
        with open(path + ".new", "w") as file:  # never half a file
            json.dump(cloud | {"writes": cloud["writes"] + 1}, file, indent=2)
        os.replace(path + ".new", path)
print(json.dumps({"version": 1} | answer))
