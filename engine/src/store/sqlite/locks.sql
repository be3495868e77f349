-- Format 2. Those who wait for a lock, first come, first served; who holds one stands in `claims`, under `lock:NAME`.

CREATE TABLE queue (
    id    INTEGER PRIMARY KEY,
    lock  TEXT NOT NULL,
    run   INTEGER NOT NULL,
    asked INTEGER NOT NULL,                 -- when it asked last: who asks no more is passed over
    UNIQUE (lock, run)
);
