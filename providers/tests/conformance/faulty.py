"""Runs a provider and spoils what comes of it, as a file says: faults.json, then the provider's own program."""
import fcntl, json, os, signal, subprocess, sys, time

faults, program = sys.argv[1], sys.argv[2:]
request = sys.stdin.read()
what = {}
with open(faults + ".lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    armed = json.load(open(faults)) if os.path.exists(faults) else {}
    if armed and json.loads(request)["verb"] in armed["on"]:
        armed["seen"] += 1
        counts = not armed["what"].get("everySecond") or armed["seen"] % 2 == 0
        if counts and armed["skip"] > 0:
            armed["skip"] -= 1
        elif counts and armed["times"] > 0:
            armed["times"] -= 1
            what = armed["what"]
        with open(faults + ".new", "w") as file:
            json.dump(armed, file)
        os.replace(faults + ".new", faults)
if "later" in what:
    print(json.dumps({"version": 1, "retryAfterSeconds": what["later"]}))
    sys.exit(75)
if "exit" in what:
    sys.exit(what["exit"])
if "hang" in what:
    time.sleep(600)
if "say" in what:
    print(what["say"])
    sys.exit(0)
run = subprocess.run([sys.executable, "-S", *program], input=request, text=True, stdout=subprocess.PIPE)
if "killed" in what:
    os.kill(os.getpid(), signal.SIGKILL)
print(run.stdout)
sys.exit(run.returncode)
