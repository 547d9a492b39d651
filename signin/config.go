package signin

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	_ "time/tzdata" // machines without a zone database still know Europe/Paris
)

// Validate reports every value that makes no sense, by its key.
func (c Config) Validate() []error {
	var errs []error
	number := func(key string, v, least, most int) {
		if v != 0 && (v < least || v > most) {
			errs = append(errs, fmt.Errorf("signin.%s: must be between %d and %d", key, least, most))
		}
	}
	duration := func(key string, v, least, most time.Duration) {
		if v != 0 && (v < least || v > most) {
			errs = append(errs, fmt.Errorf("signin.%s: must be between %s and %s", key, least, most))
		}
	}
	duration("flow_life", c.FlowLife, time.Minute, 2*time.Hour)
	duration("guess_window", c.GuessWindow, time.Minute, 24*time.Hour)
	duration("delay_max", c.DelayMax, time.Millisecond, 30*time.Second)
	number("password_limit", c.PasswordLimit, 1, 100)
	number("factor_limit", c.FactorLimit, 1, 100)
	number("address_limit", c.AddressLimit, 10, 1_000_000)
	number("max_flows", c.MaxFlows, 100, 10_000_000)
	if _, err := time.LoadLocation(c.TimeZone); err != nil {
		errs = append(errs, fmt.Errorf("signin.time_zone: %q is not the name of a time zone", c.TimeZone))
	}
	if strings.ContainsAny(c.HelpdeskContact, "\r\n") || strings.HasPrefix(c.HelpdeskContact, "http://") {
		errs = append(errs, fmt.Errorf("signin.helpdesk_contact: must be a telephone number, a mail address or an https address"))
	}
	return append(errs, c.validateRules()...)
}

func (c Config) withDefaults() Config {
	or(&c.FlowLife, 15*time.Minute)
	or(&c.PasswordLimit, 4)
	or(&c.FactorLimit, 4)
	or(&c.AddressLimit, 100)
	or(&c.GuessWindow, 10*time.Minute)
	or(&c.DelayMax, 3*time.Second)
	or(&c.MaxFlows, 100_000)
	or(&c.TimeZone, "Europe/Paris")
	return c
}

func or[T comparable](v *T, zero T) {
	var none T
	if *v == none {
		*v = zero
	}
}

// contactLink is where the helpdesk's contact leads, empty when it is plain
// text: html/template would let a telephone number pass for a relative path.
func contactLink(contact string) string {
	switch {
	case strings.HasPrefix(contact, "https://"):
		return contact
	case strings.Count(contact, "@") == 1 && !strings.ContainsAny(contact, " /"):
		return "mailto:" + url.PathEscape(contact)
	}
	number := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" .-\u00a0\u202f", r) {
			return -1
		}
		return r
	}, contact)
	if len(number) >= 4 && strings.Trim(number, "+0123456789") == "" {
		return "tel:" + number
	}
	return ""
}
