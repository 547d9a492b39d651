package directory

import (
	"regexp"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Result is what a password check ended in.
type Result int

// The results. The zero value is Wrong: forgetting to set one lets nobody in.
const (
	Wrong      Result = iota // the password is not this person's
	Unknown                  // nobody has this login; show it as Wrong
	OK                       // the password is right and nothing stands in the way
	GraceLeft                // right but expired; Grace further sign-ins are allowed
	MustChange               // right, and the directory wants it changed first
	Expired                  // right but expired, with no sign-in left
	Locked                   // too many wrong passwords, until Until where known
	Disabled                 // closed, suspended, or past its end date
	NotNow                   // not at this hour or from this machine (Active Directory 530, 531)
)

var resultNames = [...]string{"wrong", "unknown", "ok", "grace", "must-change", "expired", "locked", "disabled", "not-now"}

// String is the word written in the audit.
func (r Result) String() string {
	if r < 0 || int(r) >= len(resultNames) {
		return "wrong"
	}
	return resultNames[r]
}

// Outcome is what the directory said of a login and a password.
type Outcome struct {
	Result Result

	// Proven says that the directory has accepted the password, whatever else
	// it said. A stranger must not learn that an account is locked, disabled or
	// expired: tell why only when Proven, and otherwise what Wrong tells.
	Proven bool

	Until     time.Time     // Locked: when it ends; zero when the directory does not say
	Grace     int           // GraceLeft: sign-ins left after this one
	ExpiresIn time.Duration // OK: the password ends so soon that the directory warns; zero when it does not

	// Detail is what the server wrote, for the log: never shown, never parsed.
	Detail string
}

// OK says that the person may go on: the password is right and still good.
func (o Outcome) OK() bool { return o.Result == OK || o.Result == GraceLeft }

// Draft-behera-ldap-password-policy-10 §6.2, PasswordPolicyResponseValue.error.
const (
	policyExpired    = 0
	policyLocked     = 1
	policyMustChange = 2
	policyNone       = -1
)

// policy is what came beside a bind answer in the controls of
// draft-behera-ldap-password-policy-10 or draft-vchu-ldap-pwd-policy-00.
type policy struct {
	err    int   // policyNone when the server said nothing
	expire int64 // seconds; -1 when not said
	grace  int64 // sign-ins; -1 when not said
}

// policyOf reads the controls of a bind answer.
func policyOf(controls []ldap.Control) policy {
	p := policy{err: policyNone, expire: -1, grace: -1}
	for _, control := range controls {
		switch c := control.(type) {
		case *ldap.ControlBeheraPasswordPolicy:
			p.err, p.expire, p.grace = int(c.Error), c.Expire, c.Grace
		case *ldap.ControlVChuPasswordMustChange:
			p.err = policyMustChange
		case *ldap.ControlVChuPasswordWarning:
			p.expire = c.Expire
		}
	}
	return p
}

// Active Directory answers every refused bind with code 49 and hides the reason
// in the text: "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext
// error, data 52e, v3839". Microsoft, "Common Active Directory Bind Errors".
var adSubCode = regexp.MustCompile(`AcceptSecurityContext error, data ([0-9a-fA-F]+)`)

// outcomeOf decides what a bind answer means: the LDAP result code (RFC 4511
// §4.1.9), the server's words and the password policy beside them. ok is false
// when the answer says nothing of the password: the server is busy, or wants the
// connection encrypted.
func outcomeOf(code uint16, message string, p policy) (outcome Outcome, ok bool) {
	outcome.Detail = message
	switch code {
	case ldap.LDAPResultSuccess:
		return accepted(p), true
	case ldap.LDAPResultInvalidCredentials:
		return refused(message, p), true
	case ldap.LDAPResultConstraintViolation: // 389 Directory Server: "Exceed password retry limit."
		outcome.Result = Locked
	case ldap.LDAPResultUnwillingToPerform: // 389 Directory Server: "Account inactivated."
		outcome.Result = Wrong
		if strings.Contains(strings.ToLower(message), "inactivated") {
			outcome.Result = Disabled
		}
	case ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax,
		ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultInsufficientAccessRights:
		outcome.Result = Wrong
	default:
		return outcome, false
	}
	return outcome, true
}

// accepted reads a successful bind: "must change" comes with one.
func accepted(p policy) Outcome {
	o := Outcome{Result: OK, Proven: true}
	switch {
	case p.err == policyMustChange:
		o.Result = MustChange
	case p.err == policyExpired:
		o.Result = Expired
	case p.err == policyLocked:
		o.Result = Locked
	case p.grace >= 0:
		o.Result, o.Grace = GraceLeft, int(p.grace)
	case p.expire >= 0:
		o.ExpiresIn = time.Duration(p.expire) * time.Second
	}
	return o
}

// refused reads a bind refused with code 49.
func refused(message string, p policy) Outcome {
	o := Outcome{Result: Wrong, Detail: message}
	switch p.err {
	case policyExpired: // said only after the password was found right
		o.Result, o.Proven = Expired, true
		return o
	case policyLocked: // said whatever the password was
		o.Result = Locked
		return o
	case policyMustChange:
		o.Result, o.Proven = MustChange, true
		return o
	}
	found := adSubCode.FindStringSubmatch(message)
	if found == nil {
		return o
	}
	switch strings.ToLower(found[1]) {
	case "525": // no such user
		o.Result = Unknown
	case "530", "531": // not at this hour, not from this machine
		o.Result, o.Proven = NotNow, true
	case "532": // password expired
		o.Result, o.Proven = Expired, true
	case "533": // account disabled
		o.Result, o.Proven = Disabled, true
	case "701": // account expired
		o.Result, o.Proven = Disabled, true
	case "773": // must change at next logon
		o.Result, o.Proven = MustChange, true
	case "775": // locked out, whatever the password was
		o.Result = Locked
	}
	return o
}
