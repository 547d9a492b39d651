package testpeer_test

import (
	"context"
	"database/sql"
	"testing"

	"beffroi/internal/testpeer"
)

func TestPostgresGivesEachTestAnEmptyDatabaseOfItsOwn(t *testing.T) {
	first, second := testpeer.Postgres(t), testpeer.Postgres(t)
	if first == second {
		t.Fatalf("both got %s", first)
	}
	for _, url := range []string{first, second} {
		exec(t, url, "CREATE TABLE only_here (id BIGINT PRIMARY KEY)")
	}
}

func TestPostgresKeepsWhatWasCommittedWhenItIsKilled(t *testing.T) {
	server := testpeer.StartPostgres(t, testpeer.PostgresOptions{})
	url := server.Database()
	exec(t, url, "CREATE TABLE kept (id BIGINT)")
	exec(t, url, "INSERT INTO kept (id) VALUES (1)")
	server.Kill()
	server.Start()
	exec(t, url, "DELETE FROM kept WHERE id = 1")
	server.Stop()
	server.Start()
	exec(t, url, "DROP TABLE kept")
}

func exec(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(context.Background(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
