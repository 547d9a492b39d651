-- What was proven in a flow beside the password, as JSON; whether a factor that
-- will be required was put off in it; and how old a factor may be, in seconds (0: any age).
ALTER TABLE signin_flow ADD COLUMN factors TEXT NOT NULL DEFAULT '';
ALTER TABLE signin_flow ADD COLUMN deferred BIGINT NOT NULL DEFAULT 0;
ALTER TABLE signin_flow ADD COLUMN fresh BIGINT NOT NULL DEFAULT 0;
