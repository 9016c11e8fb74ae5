-- Who: accounts, users, and what proves who they are. Only digests of secrets are kept.

CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    session_limit integer NOT NULL CHECK (session_limit >= 0),
    queues boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    name text NOT NULL,
    password_hash text NOT NULL,
    admin boolean NOT NULL,
    publisher boolean NOT NULL,
    disabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, name)
);

CREATE TABLE credentials (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    kind text NOT NULL CHECK (kind IN ('log-on', 'api-key')),
    name text NOT NULL,
    sha256 bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

CREATE INDEX credentials_of_user ON credentials (user_id, kind) WHERE revoked_at IS NULL;

-- What: packages as they come in, apps and runtimes once they are ready.

CREATE TABLE packages (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    kind text NOT NULL CHECK (kind IN ('app', 'runtime')),
    name text NOT NULL,
    version text NOT NULL,
    state text NOT NULL CHECK (state IN ('processing', 'ready', 'rejected')),
    upload_sha256 text NOT NULL,
    sha256 text,
    size_bytes bigint,
    blob text,
    facts jsonb,
    reasons jsonb NOT NULL DEFAULT '[]',
    uploaded_by uuid NOT NULL,
    judged_upload uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    revision bigint NOT NULL DEFAULT 1
);

CREATE UNIQUE INDEX packages_published ON packages (account_id, kind, name, version)
    WHERE state = 'ready';

CREATE INDEX packages_catalogue ON packages (account_id, kind, published_at DESC, id)
    WHERE state = 'ready';

-- Sessions and tasks. Changes of state are guarded by the state they start from.

CREATE TABLE sessions (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    user_id uuid NOT NULL REFERENCES users (id),
    kind text NOT NULL CHECK (kind IN ('webui', 'task')),
    app_id uuid NOT NULL REFERENCES packages (id),
    runtime_id uuid REFERENCES packages (id),
    state text NOT NULL CHECK (state IN (
        'requested', 'queued', 'starting', 'running', 'stopping', 'ended', 'failed', 'refused'
    )),
    message text NOT NULL DEFAULT '',
    reason text,
    claim_id uuid,
    address text,
    unit text,
    peak_memory_mib integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz,
    admitted_at timestamptz,
    running_at timestamptz,
    stopping_at timestamptz,
    ended_at timestamptz,
    revision bigint NOT NULL DEFAULT 1
);

CREATE INDEX sessions_open ON sessions (account_id, state, queued_at)
    WHERE state IN ('requested', 'queued', 'starting', 'running', 'stopping');
CREATE INDEX sessions_newest ON sessions (account_id, created_at DESC, id);

CREATE TABLE session_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id),
    account_id uuid NOT NULL,
    state text NOT NULL,
    message text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX session_transitions_of ON session_transitions (session_id, id);

CREATE TABLE tasks (
    id uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts (id),
    user_id uuid NOT NULL REFERENCES users (id),
    app_id uuid NOT NULL REFERENCES packages (id),
    service text NOT NULL,
    state text NOT NULL CHECK (state IN (
        'queued', 'assigned', 'running', 'solving', 'completed', 'failed'
    )),
    time_limit_seconds integer NOT NULL CHECK (time_limit_seconds > 0),
    attempt integer NOT NULL DEFAULT 0,
    session_id uuid REFERENCES sessions (id),
    interrupt text CHECK (interrupt IN ('solve', 'execution')),
    outcome text,
    problem jsonb,
    progress jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    assigned_at timestamptz,
    running_at timestamptz,
    ended_at timestamptz,
    revision bigint NOT NULL DEFAULT 1
);

CREATE INDEX tasks_open ON tasks (app_id, created_at)
    WHERE state IN ('queued', 'assigned', 'running', 'solving');
CREATE INDEX tasks_newest ON tasks (account_id, created_at DESC, id);
CREATE INDEX tasks_of_session ON tasks (session_id)
    WHERE state IN ('assigned', 'running', 'solving');

CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL REFERENCES users (id),
    key text NOT NULL,
    request_sha256 bytea NOT NULL,
    subject uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

CREATE TABLE tickets (
    sha256 bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions (id),
    user_id uuid NOT NULL REFERENCES users (id),
    credential_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    redeemed_at timestamptz
);

-- Every change raises the revision, tells whoever waits, and leaves a line in the session's story.

CREATE FUNCTION count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.revision := OLD.revision + 1;
    END IF;
    PERFORM pg_notify('slipway_changes', TG_TABLE_NAME || ' ' || NEW.id);
    RETURN NEW;
END
$$;

CREATE TRIGGER packages_revision BEFORE INSERT OR UPDATE ON packages
    FOR EACH ROW EXECUTE FUNCTION count_revision();
CREATE TRIGGER sessions_revision BEFORE INSERT OR UPDATE ON sessions
    FOR EACH ROW EXECUTE FUNCTION count_revision();
CREATE TRIGGER tasks_revision BEFORE INSERT OR UPDATE ON tasks
    FOR EACH ROW EXECUTE FUNCTION count_revision();

CREATE FUNCTION record_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.state <> OLD.state OR NEW.message <> OLD.message THEN
        INSERT INTO session_transitions (session_id, account_id, state, message)
        VALUES (NEW.id, NEW.account_id, NEW.state, NEW.message);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER sessions_transition AFTER INSERT OR UPDATE ON sessions
    FOR EACH ROW EXECUTE FUNCTION record_transition();

-- What is still to be told, and what was heard already.

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key bytea NOT NULL,
    headers jsonb NOT NULL,
    payload bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);

CREATE INDEX outbox_waiting ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_done ON outbox (published_at) WHERE published_at IS NOT NULL;

CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event_id)
);
