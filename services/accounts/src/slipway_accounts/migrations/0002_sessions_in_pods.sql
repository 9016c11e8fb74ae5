-- Limits of time, which an admin sets for the account.

ALTER TABLE accounts
    ADD COLUMN webui_idle_seconds integer NOT NULL DEFAULT 900,
    ADD COLUMN solve_idle_seconds integer NOT NULL DEFAULT 900,
    ADD COLUMN task_idle_seconds integer NOT NULL DEFAULT 60,
    ADD COLUMN max_session_seconds integer NOT NULL DEFAULT 43200;

ALTER TABLE accounts ADD CONSTRAINT accounts_seconds CHECK (
    webui_idle_seconds > 0 AND solve_idle_seconds > 0 AND task_idle_seconds > 0
    AND max_session_seconds > 0
) NOT VALID;

-- Sessions of every kind: an external one has a service of the operator's in place of an app.

ALTER TABLE sessions
    ADD COLUMN service text,
    ADD COLUMN service_version text,
    ADD COLUMN profile text NOT NULL DEFAULT 'standard',
    ADD COLUMN stage text,
    ADD COLUMN expected_at timestamptz,
    ADD COLUMN node text,
    ADD COLUMN cpu_seconds double precision;

-- A program of the release before passes over external sessions: it joins each with its app.
-- squawk-ignore ban-drop-not-null
ALTER TABLE sessions ALTER COLUMN app_id DROP NOT NULL;
-- It makes way for a wider one.
-- squawk-ignore ban-drop-constraint
ALTER TABLE sessions DROP CONSTRAINT sessions_kind_check;
ALTER TABLE sessions ADD CONSTRAINT sessions_kind CHECK (
    kind IN ('webui', 'solve', 'task', 'external')
) NOT VALID;
ALTER TABLE sessions ADD CONSTRAINT sessions_runs_one_thing CHECK (
    (app_id IS NULL) <> (service IS NULL)
    AND (service IS NULL) = (service_version IS NULL)
    AND (kind = 'external') = (service IS NOT NULL)
) NOT VALID;

-- A new stage is a line of the session's story, too.

ALTER TABLE session_transitions ADD COLUMN stage text;

CREATE OR REPLACE FUNCTION record_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.state <> OLD.state OR NEW.message <> OLD.message
       OR (NEW.stage IS NOT NULL AND NEW.stage IS DISTINCT FROM OLD.stage) THEN
        INSERT INTO session_transitions (session_id, account_id, state, message, stage)
        VALUES (NEW.id, NEW.account_id, NEW.state, NEW.message, NEW.stage);
    END IF;
    RETURN NULL;
END
$$;
