package oidc

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"beffroi/directory"
)

// What the parameter claims may hold.
const (
	claimsMost  = 4 << 10 // bytes
	claimsDepth = 4       // {"id_token":{"acr":{"values":[…]}}}
)

// claimsRequest is the parameter claims (OpenID Connect Core §5.5): what an
// application asks to learn beside what the scopes give. The names are kept
// with the authorization, so that userinfo and a refresh answer them too.
type claimsRequest struct {
	Userinfo []string `json:"userinfo,omitempty"`
	IDToken  []string `json:"id_token,omitempty"`

	subs [][]string // each is a list of whom the request is about
	acr  acrWish    // of id_token.acr
}

// claimWish is one member of userinfo or id_token.
type claimWish struct {
	essential bool
	values    []string // of value and values
}

// readClaims reads the parameter strictly: what is not understood as the
// specification has it is refused, members that it does not name are ignored.
func readClaims(text string) (c claimsRequest, err error) {
	if text == "" {
		return c, nil
	}
	if len(text) > claimsMost {
		return c, errors.New("is longer than 4096 bytes")
	}
	if err := checkJSON([]byte(text), claimsDepth); err != nil {
		return c, err
	}
	members, ok := object([]byte(text))
	if !ok {
		return c, errors.New("is not a JSON object")
	}
	for _, place := range []struct {
		name  string
		names *[]string
	}{{"userinfo", &c.Userinfo}, {"id_token", &c.IDToken}} {
		if members[place.name] == nil || string(members[place.name]) == "null" {
			continue
		}
		wishes, ok := object(members[place.name])
		if !ok {
			return c, errors.New(place.name + " is not a JSON object")
		}
		*place.names = slices.Sorted(maps.Keys(wishes))
		for _, name := range *place.names {
			wish, err := readWish(name, wishes[name])
			if err != nil {
				return c, err
			}
			switch {
			case name == "sub" && wish.values != nil:
				c.subs = append(c.subs, wish.values)
			case name == "acr" && place.name == "id_token" && wish.values != nil:
				c.acr = acrWish{names: wish.values, essential: wish.essential}
			}
		}
	}
	return c, nil
}

// readWish reads null, or {"essential":…, "value":…, "values":[…]}. What sub and
// acr must be (§5.5.1) is text; other claims are answered as they are, so the
// values asked of them are not kept.
func readWish(name string, text json.RawMessage) (w claimWish, err error) {
	bad := func() (claimWish, error) {
		return claimWish{}, errors.New(printable(short(name)) + " is neither null nor an object with essential, value or values")
	}
	if string(text) == "null" {
		return w, nil
	}
	members, ok := object(text)
	if !ok {
		return bad()
	}
	if one, ok := members["essential"]; ok {
		switch string(one) {
		case "true":
			w.essential = true
		case "false":
		default:
			return bad()
		}
	}
	var all []json.RawMessage
	if several, ok := members["values"]; ok && (json.Unmarshal(several, &all) != nil || all == nil) {
		return bad()
	}
	if one, ok := members["value"]; ok {
		all = append([]json.RawMessage{one}, all...)
	}
	if name != "sub" && name != "acr" || all == nil {
		return w, nil
	}
	w.values = []string{}
	for _, one := range all {
		var s string
		if len(one) == 0 || one[0] != '"' || json.Unmarshal(one, &s) != nil {
			return bad()
		}
		w.values = append(w.values, s)
	}
	return w, nil
}

// object reads a JSON object, its names exactly as they are written: a struct
// would take "USERINFO" for "userinfo".
func object(text []byte) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(text, &members)
	return members, err == nil && members != nil
}

// about tells whether the request may be answered for this subject.
func (c claimsRequest) about(sub string) bool {
	return !slices.ContainsFunc(c.subs, func(among []string) bool { return !slices.Contains(among, sub) })
}

// stored is what is kept with the authorization; "" when nothing is asked.
func (c claimsRequest) stored() string {
	if len(c.Userinfo) == 0 && len(c.IDToken) == 0 {
		return ""
	}
	text, _ := json.Marshal(c) // lists of text
	return string(text)
}

// storedClaims reads what stored wrote. What cannot be read asks nothing.
func storedClaims(text string) (c claimsRequest) {
	if text != "" {
		_ = json.Unmarshal([]byte(text), &c)
	}
	return c
}

// addRequested adds the claims that were asked for by name.
//
// The rule: a claim is answered in the place where it was asked for, whether or
// not the request has the scope that gives it, but only if a scope that gives
// it is among those the application is registered for, now. An application that
// may not have email does not get the address through claims either; a claim
// that no scope gives is not answered at all. What stands in claims already
// (iss, sub, acr…) is never replaced.
func addRequested(claims map[string]any, names []string, person directory.Person, c *Client) {
	if len(names) == 0 {
		return
	}
	all := personClaims("", person, c.Scopes)
	for _, name := range names {
		value, known := all[name]
		if _, there := claims[name]; known && !there {
			claims[name] = value
		}
	}
}
