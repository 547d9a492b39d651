-- The trail is asked by who acted and by what was done, newest first, also when
-- it holds millions of rows.
CREATE INDEX audit_actor ON audit (actor, at) WHERE actor <> '';
CREATE INDEX audit_action ON audit (action, at);
