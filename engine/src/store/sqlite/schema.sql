-- Format 1. Instants are nanoseconds since 1970; runs are known by the row of their head, in the order of creation.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) WITHOUT ROWID;

CREATE TABLE workflows (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE plans (
    id          INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    body        BLOB NOT NULL
);

-- One row a run: all that lists, leases and wake-ups need.
CREATE TABLE heads (
    id          INTEGER PRIMARY KEY,
    workflow    INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    plan        INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    last        INTEGER NOT NULL,           -- the newest entry's row
    outcome     TEXT NOT NULL,
    done        INTEGER NOT NULL,
    wake        INTEGER,
    epoch       INTEGER NOT NULL,
    owner       TEXT,
    until       INTEGER,
    stirred     INTEGER NOT NULL,           -- a target it waits for was given back while somebody drove it
    claim       INTEGER,                    -- the newest claim it was granted
    quarantined TEXT
);
CREATE UNIQUE INDEX heads_names ON heads (workflow, number);
-- Rows leave this index while somebody drives the run, so that an append touches no index at all.
CREATE INDEX heads_due ON heads (wake) WHERE owner IS NULL AND quarantined IS NULL AND wake IS NOT NULL;
CREATE INDEX heads_leases ON heads (until) WHERE owner IS NOT NULL;

-- The log. There is no index by run: each entry names the row of the one before it, and the head names the newest.
CREATE TABLE entries (
    id   INTEGER PRIMARY KEY,
    run  INTEGER NOT NULL,
    seq  INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE snapshots (
    run  INTEGER PRIMARY KEY,
    seq  INTEGER NOT NULL,
    sum  BLOB NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE starts (
    key TEXT PRIMARY KEY,
    run INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE signals (
    id     INTEGER PRIMARY KEY,
    key    TEXT NOT NULL UNIQUE,
    run    INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    body   TEXT NOT NULL,
    answer TEXT
);
CREATE INDEX signals_open ON signals (run) WHERE answer IS NULL;

CREATE TABLE claims (
    target TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    holder INTEGER,
    taker  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_holders ON claims (holder) WHERE holder IS NOT NULL;

CREATE TABLE waiters (
    target TEXT NOT NULL,
    run    INTEGER NOT NULL,
    PRIMARY KEY (target, run)
) WITHOUT ROWID;

CREATE TABLE submissions (
    id       INTEGER PRIMARY KEY,
    key      TEXT NOT NULL UNIQUE,
    workflow TEXT NOT NULL,
    body     TEXT NOT NULL,
    queued   INTEGER NOT NULL
);
CREATE INDEX submissions_queued ON submissions (workflow) WHERE queued = 1;

CREATE TABLE schedules (
    workflow   TEXT NOT NULL,
    schedule   TEXT NOT NULL,
    instant    INTEGER NOT NULL,
    submission TEXT,
    PRIMARY KEY (workflow, schedule)
) WITHOUT ROWID;
