-- A job's body is the whole of it, as JSON; the columns beside it are for people with a shell.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    rev INTEGER NOT NULL,
    state TEXT NOT NULL,
    finished_at REAL,
    body BLOB NOT NULL
) STRICT;

-- What the world is told, word for word. A hole in seq can't be: batches are stored in order.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    job INTEGER,
    body BLOB NOT NULL
) STRICT;

-- A rowid stands at the end of every index entry: this one is sorted by job, then seq.
CREATE INDEX events_by_job ON events (job) WHERE job IS NOT NULL;

CREATE TABLE gates (
    provider TEXT PRIMARY KEY,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Numbers that outlive their rows, so that none is given twice:
-- seq, of the newest event that was pruned; next_job_id, above every job that was dropped.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
