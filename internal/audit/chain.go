package audit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"beffroi/internal/db"
	"beffroi/internal/secret"
)

// Chain makes the trail one that nobody changes unseen: every row has a place
// and a hash over itself and the hash before it, and the end of the chain is
// sealed with a key that the database does not hold. A row is chained moments
// after its commit, by a worker: whoever signs in never waits for whoever signs
// in beside them.
//
// It finds a row that was changed, removed, put in or moved, and an end that was
// cut off. It cannot see a row that was removed before it was chained, nor a
// whole database put back to an earlier day: for that, compare Head with one
// that was noted elsewhere (Verify's known).
type Chain struct {
	log    *Log
	sealer *secret.Sealer
	out    *slog.Logger
}

// NewChain makes the chain of a trail.
func NewChain(l *Log, s *secret.Sealer, out *slog.Logger) *Chain {
	if out == nil {
		out = slog.New(slog.DiscardHandler)
	}
	return &Chain{log: l, sealer: s, out: out}
}

const (
	sealEvery  = 400 * time.Millisecond
	sealAtOnce = 500
	noteEvery  = time.Hour // the head goes to the log of the program
	lateAfter  = 10 * time.Minute
)

// Head is the end of the chain.
type Head struct {
	Seq  int64
	Hash string
}

func (h Head) String() string { return strconv.FormatInt(h.Seq, 10) + ":" + h.Hash }

// ParseHead reads what String wrote.
func ParseHead(text string) (Head, error) {
	seq, hash, ok := strings.Cut(text, ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	if !ok || err != nil || len(hash) != 43 {
		return Head{}, fmt.Errorf("audit: %q is not the head of a chain", text)
	}
	return Head{n, hash}, nil
}

const headPurpose = "audit-head"

func linkPurpose(seq int64) string { return "audit-link:" + strconv.FormatInt(seq, 10) }

// hashOf is the hash of a row behind another: every column with its length, so
// that nothing can move from one into the next.
func hashOf(previous string, seq int64, r chainRow) string {
	h := sha256.New()
	var n [8]byte
	put := func(s string) {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		_, _ = h.Write(n[:])
		_, _ = h.Write([]byte(s))
	}
	put("beffroi audit v1")
	put(previous)
	put(strconv.FormatInt(seq, 10))
	put(strconv.FormatInt(r.At.UnixMicro(), 10))
	for _, s := range []string{r.ID, r.Actor.Kind, r.Actor.ID, r.Actor.Name, r.Action, r.Target, r.Application, r.Outcome, r.detail, r.Address, r.Agent, r.Request} {
		put(s)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// chainRow is a row as the chain reads it: with its detail as it stands.
type chainRow struct {
	Row
	detail string
	seq    int64
	hash   string
}

const chainColumns = columns + ", COALESCE(seq, 0), hash"

func scanChainRow(scan func(...any) error) (r chainRow, err error) {
	var at db.Time
	err = scan(&r.ID, &at, &r.Actor.Kind, &r.Actor.ID, &r.Actor.Name, &r.Action, &r.Target, &r.Application, &r.Outcome, &r.detail, &r.Address, &r.Agent, &r.Request, &r.seq, &r.hash)
	r.At = at.Time
	return r, err
}

// Run seals until ctx ends.
func (c *Chain) Run(ctx context.Context) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	var noted time.Time
	for {
		n, err := c.Seal(ctx)
		if err != nil && ctx.Err() == nil {
			c.out.ErrorContext(ctx, "chain the audit trail", "error", err)
		}
		if now := c.log.now(); err == nil && now.Sub(noted) >= noteEvery {
			if head, err := c.head(ctx); err == nil && head.Seq > 0 {
				c.out.InfoContext(ctx, "audit trail", "head", head.String())
			}
			noted = now
		}
		if n == sealAtOnce {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Seal chains rows that are not yet, the oldest first, and returns how many. One
// at a time does it, over all replicas: the head's row is the lock.
func (c *Chain) Seal(ctx context.Context) (n int, err error) {
	d := c.log.db
	var one int
	if err := d.QueryRow(ctx, "SELECT 1 FROM audit WHERE seq IS NULL LIMIT 1").Scan(&one); errors.Is(err, db.ErrNotFound) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	err = d.InTx(ctx, func(ctx context.Context) error {
		n = 0
		_, err := d.Exec(ctx, "INSERT INTO audit_head (id, seq, hash, seal) VALUES ('v1', 0, '', '') ON CONFLICT (id) DO UPDATE SET id = excluded.id")
		if err != nil {
			return err
		}
		head, err := c.head(ctx)
		if err != nil {
			return err
		}
		rows, err := db.All(ctx, d, scanChainRow, "SELECT "+chainColumns+" FROM audit WHERE seq IS NULL ORDER BY at, id LIMIT $1", sealAtOnce)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if c.log.now().Sub(r.At) > lateAfter {
				c.out.WarnContext(ctx, "a row of the audit trail came late", "id", r.ID, "at", r.At)
			}
			head = Head{head.Seq + 1, hashOf(head.Hash, head.Seq+1, r)}
			gone, err := d.Exec(ctx, "UPDATE audit SET seq = $1, hash = $2 WHERE id = $3 AND seq IS NULL", head.Seq, head.Hash, r.ID)
			if err == nil && gone != 1 {
				err = fmt.Errorf("row %s changed while it was chained", r.ID)
			}
			if err != nil {
				return err
			}
		}
		n = len(rows)
		_, err = d.Exec(ctx, "UPDATE audit_head SET seq = $1, hash = $2, seal = $3 WHERE id = 'v1'", head.Seq, head.Hash, c.sealer.Seal(headPurpose, head.String()))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	return n, nil
}

// head reads the end of the chain and holds it against its seal.
func (c *Chain) head(ctx context.Context) (Head, error) {
	var h Head
	var seal string
	err := c.log.db.QueryRow(ctx, "SELECT seq, hash, seal FROM audit_head WHERE id = 'v1'").Scan(&h.Seq, &h.Hash, &seal)
	if errors.Is(err, db.ErrNotFound) || err == nil && h.Seq == 0 && seal == "" {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, err
	}
	if plain, err := c.sealer.Open(headPurpose, seal); err != nil || plain != h.String() {
		return Head{}, &Broken{What: BrokenHead, Seq: h.Seq}
	}
	return h, nil
}

// What may be wrong with a chain.
const (
	BrokenRow  = "changed" // a row is not what was chained
	BrokenGap  = "missing" // a row is not there
	BrokenHead = "head"    // the end is not the one that was sealed
	BrokenLink = "removal" // a row was removed, and not by its time
	BrokenPast = "past"    // a head that was noted is not in this chain
)

// Broken is the error of Verify: where the chain does not hold.
type Broken struct {
	What   string // one of the Broken words
	Seq    int64
	ID     string    // of the row, if there is one
	At     time.Time // of the row, or of the one before
	Action string
}

func (b *Broken) Error() string {
	text := map[string]string{
		BrokenRow: "is not as it was written", BrokenGap: "is missing", BrokenHead: "is the end of the chain, but not the end that was sealed",
		BrokenLink: "was removed, and not because its time was over", BrokenPast: "has another hash than the head that was noted",
	}[b.What]
	where := fmt.Sprintf("row %d %s", b.Seq, text)
	if b.ID != "" {
		where += fmt.Sprintf(" (id %s, %s, %s)", b.ID, b.Action, b.At.UTC().Format(time.RFC3339))
	}
	return "audit: " + where
}

// Report is what Verify found in a chain that holds.
type Report struct {
	Rows     int64     `json:"rows"`
	Removed  int64     `json:"removed"`  // rows whose time was over
	Unsealed int64     `json:"unsealed"` // not chained yet
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Head     string    `json:"head"`
}

// Verify walks the whole chain. known are heads that were noted elsewhere. The
// error is a *Broken, or why it could not be read.
func (c *Chain) Verify(ctx context.Context, known ...Head) (report Report, err error) {
	d := c.log.db
	// One moment of the database: rows that are chained meanwhile are left for
	// the next time.
	head, err := c.head(ctx)
	if err != nil {
		return report, err
	}
	noted := map[int64]string{}
	for _, k := range known {
		if k.Seq > head.Seq {
			return report, &Broken{What: BrokenPast, Seq: k.Seq}
		}
		noted[k.Seq] = k.Hash
	}
	var at Head
	var last time.Time
	links, err := c.links(ctx)
	if err != nil {
		return report, err
	}
	pass := func(hash string) error {
		at = Head{at.Seq + 1, hash}
		if want, ok := noted[at.Seq]; ok && !secret.Equal(want, hash) {
			return &Broken{What: BrokenPast, Seq: at.Seq, At: last}
		}
		return nil
	}
	skip := func(until int64) error { // rows whose time was over
		for at.Seq+1 < until {
			l, ok := links[at.Seq+1]
			if !ok { // removed since the list was read
				err := d.QueryRow(ctx, "SELECT hash, seal FROM audit_link WHERE seq = $1", at.Seq+1).Scan(&l.hash, &l.seal)
				if ok = err == nil; err != nil && !errors.Is(err, db.ErrNotFound) {
					return fmt.Errorf("audit: %w", err)
				}
			}
			if !ok {
				return &Broken{What: BrokenGap, Seq: at.Seq + 1, At: last}
			}
			if plain, err := c.sealer.Open(linkPurpose(at.Seq+1), l.seal); err != nil || !secret.Equal(plain, l.hash) {
				return &Broken{What: BrokenLink, Seq: at.Seq + 1, At: last}
			}
			report.Removed++
			if err := pass(l.hash); err != nil {
				return err
			}
		}
		return nil
	}
	for more := true; more; {
		rows, err := db.All(ctx, d, scanChainRow, "SELECT "+chainColumns+" FROM audit WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT 2000", at.Seq, head.Seq)
		if err != nil {
			return report, fmt.Errorf("audit: %w", err)
		}
		more = len(rows) > 0
		for _, r := range rows {
			if err := skip(r.seq); err != nil {
				return report, err
			}
			if !secret.Equal(r.hash, hashOf(at.Hash, r.seq, r)) {
				return report, &Broken{What: BrokenRow, Seq: r.seq, ID: r.ID, At: r.At, Action: r.Action}
			}
			if report.Rows++; report.Rows == 1 {
				report.First = r.At
			}
			last = r.At
			if err := pass(r.hash); err != nil {
				return report, err
			}
		}
	}
	if err := skip(head.Seq + 1); err != nil {
		return report, err
	}
	if at != head {
		return report, &Broken{What: BrokenHead, Seq: head.Seq, At: last}
	}
	report.Last, report.Head = last, head.String()
	err = d.QueryRow(ctx, "SELECT COUNT(*) FROM audit WHERE seq IS NULL OR seq > $1", head.Seq).Scan(&report.Unsealed)
	if err != nil {
		return report, fmt.Errorf("audit: %w", err)
	}
	return report, nil
}

type link struct{ hash, seal string }

func (c *Chain) links(ctx context.Context) (map[int64]link, error) {
	all := map[int64]link{}
	_, err := db.All(ctx, c.log.db, func(scan func(...any) error) (seq int64, err error) {
		var l link
		err = scan(&seq, &l.hash, &l.seal)
		all[seq] = l
		return seq, err
	}, "SELECT seq, hash, seal FROM audit_link")
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return all, nil
}
