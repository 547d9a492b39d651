package testpeer

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// pgPrograms is where Debian keeps PostgreSQL's programs, one folder for each version.
const pgPrograms = "/usr/lib/postgresql/*/bin"

// Postgres gives the URL of a fresh, empty database on the PostgreSQL of this test binary; it is dropped when the test ends.
// That server does not wait for the disk: what is committed survives a kill of the server, not of the machine.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := sharedPostgres()
	if err != nil {
		t.Fatal(err)
	}
	return server.database(t)
}

// PostgresOptions choose how a PostgreSQL of one's own runs.
type PostgresOptions struct {
	Durable bool // waits for the disk at each commit, as in production: for benches
}

// PostgresServer is a PostgreSQL that belongs to one test: it may be stopped and killed.
type PostgresServer struct {
	*Server
	cluster *cluster
}

// StartPostgres starts a PostgreSQL for this test alone.
func StartPostgres(t testing.TB, o PostgresOptions) *PostgresServer {
	t.Helper()
	c, err := newCluster(testDir(t, "postgres"), o)
	if err != nil {
		t.Fatal(err)
	}
	return &PostgresServer{Server: run(t, c.process), cluster: c}
}

// Database creates an empty database and gives its URL.
func (s *PostgresServer) Database() string { return s.cluster.database(s.t) }

// cluster is one data folder and the server on it.
type cluster struct {
	process *process
	port    int
}

var sharedPostgres = sync.OnceValues(func() (*cluster, error) {
	dir, err := stateDir("postgres")
	if err != nil {
		return nil, err
	}
	c, err := newCluster(dir, PostgresOptions{})
	if err != nil {
		return nil, err
	}
	return c, c.process.start()
})

// url addresses one of the cluster's databases.
func (c *cluster) url(name string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", loopback(c.port), name)
}

func (c *cluster) database(t testing.TB) string {
	t.Helper()
	name := "t" + randomName(8)
	if err := c.exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("create a test database: %v\n%s", err, c.process.tail())
	}
	t.Cleanup(func() {
		if c.process.PID() != 0 {
			if err := c.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
				t.Logf("drop test database: %v", err)
			}
		}
	})
	return c.url(name)
}

func (c *cluster) exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := sql.Open("pgx", c.url("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.ExecContext(ctx, statement)
	return err
}

// newCluster copies the initialised data folder into dir and prepares its server.
func newCluster(dir string, o PostgresOptions) (*cluster, error) {
	postgres, err := program("postgres", pgPrograms)
	if err != nil {
		return nil, err
	}
	template, err := pgTemplate()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if out, err := exec.Command("cp", "-a", template, data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy %s: %w: %s", template, err, out)
	}
	if err := pgOwn(dir); err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	args := []string{"-D", data, "-p", strconv.Itoa(port), "-k", dir, "-h", "127.0.0.1",
		"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "logging_collector=off", "-c", "log_checkpoints=off"}
	if !o.Durable {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	c := &cluster{port: port}
	c.process = &process{
		name: "PostgreSQL", log: filepath.Join(dir, "postgres.log"),
		command: func() *exec.Cmd { return asPostgres(postgres, args...) },
		ready:   func() bool { return c.exec("SELECT 1") == nil },
	}
	return c, nil
}

// Stop ends the server in good order, its clients' connections too (SIGTERM would wait for them to leave by themselves).
func (s *PostgresServer) Stop() { s.stop(syscall.SIGINT) }

// Start starts the server again. After Kill, PostgreSQL refuses for as long as a process of the old server lives; they end by themselves.
func (s *PostgresServer) Start() {
	s.t.Helper()
	var err error
	if !waitFor(30*time.Second, func() bool { err = s.start(); return err == nil }) {
		s.t.Fatal(err)
	}
}

// pgTemplate makes, once for this machine and user, the data folder of which each server gets a copy: initdb takes seconds, a copy none.
func pgTemplate() (string, error) {
	initdb, err := program("initdb", pgPrograms)
	if err != nil {
		return "", err
	}
	base, err := root()
	if err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(base, "postgres.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	version := filepath.Base(filepath.Dir(filepath.Dir(initdb)))
	dir := filepath.Join(base, "postgres-template-"+version)
	data := filepath.Join(dir, "data")
	if isFile(filepath.Join(dir, "complete")) {
		return data, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := pgOwn(dir); err != nil {
		return "", err
	}
	cmd := asPostgres(initdb, "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return data, os.WriteFile(filepath.Join(dir, "complete"), nil, 0o644)
}

// asPostgres runs a program as the user postgres when we are root, as PostgreSQL refuses to run as root; else as ourselves.
func asPostgres(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"LANG=C.UTF-8", "PATH=/usr/bin:/bin"}
	if uid, gid, err := pgUser(); err == nil && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd
}

func pgUser() (uid, gid int, err error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, fmt.Errorf("%w; %s", err, installHint)
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// pgOwn gives a folder to the user who will run PostgreSQL in it.
func pgOwn(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := pgUser()
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}
