package i18n

import (
	"fmt"
	"time"
)

var (
	frDays     = [...]string{"dimanche", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi"}
	frDays3    = [...]string{"dim.", "lun.", "mar.", "mer.", "jeu.", "ven.", "sam."}
	frMonths   = [...]string{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"}
	frMonths3  = [...]string{"janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc."}
	now        = time.Now
	yesterdays = map[Lang]string{French: "hier", English: "yesterday"}
)

// Date writes t, in the zone it carries, in one of these styles:
//
//	day       lundi 23 novembre 2026     Monday 23 November 2026
//	dayshort  lun. 23 nov.               Mon 23 Nov
//	monthshort nov.                      Nov
//	weekday   lundi                      Monday
//	month     novembre 2026              November 2026
//	short     23/11/2026                 23/11/2026
//	time      14:05                      14:05
//	datetime  23 novembre 2026 à 14:05   23 November 2026 at 14:05
//	relative  the time today, "hier", the day this week, else the date
//	iso       2026-11-23T14:05:00+01:00, for the datetime attribute
func Date(l Lang, t time.Time, style string) string {
	if t.IsZero() {
		return ""
	}
	switch style {
	case "iso":
		return t.Format(time.RFC3339)
	case "time":
		return t.Format("15:04")
	case "short":
		return t.Format("02/01/2006")
	case "relative":
		return relative(l, t)
	}
	if l == English {
		return english(t, style)
	}
	return french(t, style)
}

func english(t time.Time, style string) string {
	switch style {
	case "day":
		return t.Format("Monday 2 January 2006")
	case "dayshort":
		return t.Format("Mon 2 Jan")
	case "monthshort":
		return t.Format("Jan")
	case "weekday":
		return t.Format("Monday")
	case "month":
		return t.Format("January 2006")
	}
	return t.Format("2 January 2006 at 15:04")
}

func french(t time.Time, style string) string {
	day := fmt.Sprint(t.Day())
	if t.Day() == 1 {
		day = "1er"
	}
	month := frMonths[t.Month()-1]
	switch style {
	case "day":
		return fmt.Sprintf("%s %s %s %d", frDays[t.Weekday()], day, month, t.Year())
	case "dayshort":
		return fmt.Sprintf("%s %s %s", frDays3[t.Weekday()], day, frMonths3[t.Month()-1])
	case "monthshort":
		return frMonths3[t.Month()-1]
	case "weekday":
		return frDays[t.Weekday()]
	case "month":
		return fmt.Sprintf("%s %d", month, t.Year())
	}
	return fmt.Sprintf("%s %s %d à %s", day, month, t.Year(), t.Format("15:04"))
}

func relative(l Lang, t time.Time) string {
	n := now().In(t.Location())
	midnight := time.Date(n.Year(), n.Month(), n.Day(), 0, 0, 0, 0, t.Location())
	switch {
	case !t.Before(midnight) && t.Before(midnight.AddDate(0, 0, 1)):
		return t.Format("15:04")
	case !t.Before(midnight.AddDate(0, 0, -1)) && t.Before(midnight):
		return yesterdays[l]
	case !t.Before(midnight.AddDate(0, 0, -6)) && t.Before(midnight):
		if l == English {
			return t.Format("Mon 2")
		}
		return fmt.Sprintf("%s %d", frDays3[t.Weekday()], t.Day())
	case t.Year() == n.Year():
		if l == English {
			return t.Format("2 Jan")
		}
		return fmt.Sprintf("%d %s", t.Day(), frMonths3[t.Month()-1])
	}
	return t.Format("02/01/06")
}
