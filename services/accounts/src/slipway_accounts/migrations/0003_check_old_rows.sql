-- What 0002 asks of new rows holds for the old ones as well; in a transaction of its own, so that
-- nobody waits while they are looked through.

ALTER TABLE accounts VALIDATE CONSTRAINT accounts_seconds;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_kind;
ALTER TABLE sessions VALIDATE CONSTRAINT sessions_runs_one_thing;
