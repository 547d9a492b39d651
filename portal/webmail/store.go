package webmail

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"
)

// byMailbox groups messages by where they are: one use of a connection each.
func byMailbox(refs []ref) map[ref][]imap.UID {
	groups := map[ref][]imap.UID{}
	for _, r := range refs {
		place := ref{box: r.box, validity: r.validity}
		groups[place] = append(groups[place], r.uid)
	}
	return groups
}

// setFlags adds or removes one flag. Messages that are gone are no error.
func (s *service) setFlags(ctx context.Context, who owner, refs []ref, op imap.StoreFlagsOp, flag imap.Flag) error {
	for place, uids := range byMailbox(refs) {
		err := s.pools.Do(ctx, who, place.box, writes, func(c *conn) error {
			if err := c.openAt(place.box, place.validity, true); err != nil {
				return err
			}
			if !c.keeps(flag) {
				return fmt.Errorf("%w: %s in %q", errReadOnly, flag, place.box)
			}
			return c.Store(imap.UIDSetNum(uids...), &imap.StoreFlags{Op: op, Silent: true, Flags: []imap.Flag{flag}}, nil).Close()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// move takes messages of one mailbox to another and tells what they are called
// there, where the server says so (UIDPLUS).
func (s *service) move(ctx context.Context, who owner, refs []ref, to string) (moved []ref, err error) {
	for place, uids := range byMailbox(refs) {
		if place.box == to {
			continue
		}
		err := s.pools.Do(ctx, who, place.box, writes, func(c *conn) error {
			if err := c.openAt(place.box, place.validity, true); err != nil {
				return err
			}
			data, err := c.Move(imap.UIDSetNum(uids...), to).Wait()
			if err != nil {
				return err
			}
			if set, ok := data.DestUIDs.(imap.UIDSet); ok && data.UIDValidity != 0 {
				if there, ok := set.Nums(); ok {
					for _, uid := range there {
						moved = append(moved, ref{to, data.UIDValidity, uid})
					}
				}
			}
			return nil
		})
		if err != nil {
			return moved, err
		}
		if err := s.unfollow(ctx, who.sub, place.box, uids); err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// archive takes messages to the mailboxes of their years below the archive, made
// when they are not there, or to the archive itself on a server whose mailboxes
// have no levels.
func (s *service) archive(ctx context.Context, who owner, refs []ref) (moved []ref, err error) {
	root, err := s.ensureRole(ctx, who, roleArchive)
	if err != nil {
		return nil, err
	}
	years := map[int][]ref{}
	for place, uids := range byMailbox(refs) {
		err := s.pools.Do(ctx, who, place.box, writes, func(c *conn) error {
			if err := c.openAt(place.box, place.validity, true); err != nil {
				return err
			}
			found, err := c.Fetch(imap.UIDSetNum(uids...), &imap.FetchOptions{UID: true, InternalDate: true}).Collect()
			if err != nil {
				return err
			}
			for _, m := range found {
				year := m.InternalDate.In(s.location).Year()
				years[year] = append(years[year], ref{place.box, place.validity, m.UID})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for year, refs := range years {
		to, err := s.ensureBelow(ctx, who, root, strconv.Itoa(year))
		if err != nil {
			return moved, err
		}
		there, err := s.move(ctx, who, refs, to)
		moved = append(moved, there...)
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// expunge removes messages for good: only these where the server knows UIDPLUS;
// without it \Deleted is all that is safe, since EXPUNGE would take others too.
func (s *service) expunge(ctx context.Context, who owner, refs []ref) error {
	for place, uids := range byMailbox(refs) {
		err := s.pools.Do(ctx, who, place.box, writes, func(c *conn) error {
			if err := c.openAt(place.box, place.validity, true); err != nil {
				return err
			}
			set := imap.UIDSetNum(uids...)
			if err := c.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
				return err
			}
			caps := c.Caps()
			if caps.Has(imap.CapUIDPlus) || caps.Has(imap.CapIMAP4rev2) {
				_, err := c.UIDExpunge(set).Collect()
				return err
			}
			others, err := c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagDeleted}}, nil).Wait()
			if err != nil {
				return err
			}
			for _, uid := range others.AllUIDs() {
				if !slices.Contains(uids, uid) {
					return nil
				}
			}
			_, err = c.Expunge().Collect()
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// append writes a message into a mailbox; the answer names it there, with UID 0
// where the server does not say.
func (s *service) append(ctx context.Context, who owner, box string, raw []byte, flags []imap.Flag) (ref, error) {
	at := ref{box: box}
	limit := s.pools.limits.use + time.Duration(len(raw)/(1<<20))*time.Second
	err := s.pools.DoFor(ctx, limit, who, "", writes, func(c *conn) error {
		command := c.Append(box, int64(len(raw)), &imap.AppendOptions{Flags: flags, Time: s.now()})
		// Wait whatever happens: an APPEND left half-way holds the encoder's lock.
		_, errWrite := command.Write(raw)
		errClose := command.Close()
		data, err := command.Wait()
		if err != nil {
			return err
		}
		if errWrite != nil || errClose != nil {
			return fmt.Errorf("append to %q: %v, %v", box, errWrite, errClose)
		}
		at.validity, at.uid = data.UIDValidity, data.UID
		return nil
	})
	return at, err
}
