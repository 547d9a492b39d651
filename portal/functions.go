package portal

import (
	"fmt"
	"slices"
	"strings"
)

// Function is an address that belongs to a function, not to a person: whoever is in
// the group may write from it. One "*" in Group stands for anything, and for the same
// in Address, Name and Sent.
type Function struct {
	Group   string `yaml:"group"`
	Address string `yaml:"address"`
	Name    string `yaml:"name"` // as recipients see it
	Sent    string `yaml:"sent"` // mailbox, shared with the group, that keeps what is sent; empty: the writer's own
}

// FunctionsOf are those of somebody in these groups, without "*".
func FunctionsOf(all []Function, groups []string) (list []Function) {
	for _, f := range all {
		for _, group := range groups {
			part, ok := f.matches(group)
			if !ok {
				continue
			}
			fill := func(text string) string { return strings.ReplaceAll(text, "*", part) }
			one := Function{Group: group, Address: strings.ToLower(fill(f.Address)), Name: fill(f.Name), Sent: fill(f.Sent)}
			if !slices.ContainsFunc(list, func(o Function) bool { return o.Address == one.Address }) {
				list = append(list, one)
			}
		}
	}
	return list
}

// matches tells what "*" stands for in a group.
func (f Function) matches(group string) (part string, ok bool) {
	before, after, wild := strings.Cut(f.Group, "*")
	if !wild {
		return "", group == f.Group
	}
	rest, ok1 := strings.CutPrefix(group, before)
	part, ok2 := strings.CutSuffix(rest, after)
	// What it stands for becomes part of an address: nothing that means something there.
	return part, ok1 && ok2 && part != "" && !strings.ContainsAny(part, "@<>,;:\"\\ /%*")
}

func (f Function) check() error {
	switch {
	case f.Group == "" || f.Address == "":
		return fmt.Errorf("group and address are both needed")
	case strings.Count(f.Group, "*") > 1:
		return fmt.Errorf("one * at most stands in %q", f.Group)
	case !strings.Contains(f.Group, "*") && strings.Contains(f.Address+f.Name+f.Sent, "*"):
		return fmt.Errorf("the * of %q stands for nothing: the group has none", f.Address)
	case strings.Contains(f.Group, "*") && !strings.Contains(f.Address, "*"):
		return fmt.Errorf("%q is the address of every group %q: it needs a *", f.Address, f.Group)
	}
	local, host, ok := strings.Cut(f.Address, "@")
	if !ok || local == "" || !strings.Contains(host, ".") || strings.Contains(host, "*") || strings.ContainsAny(f.Address, " <>\"") {
		return fmt.Errorf("%q is no address", f.Address)
	}
	return nil
}
