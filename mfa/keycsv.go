package mfa

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"
	"unicode/utf8"
)

// readKeyCSV reads lines of
//
//	serial, seed (hex or base32), HOTP or TOTP, digits, period or counter, hash
//
// with or without a line of titles in any order, and both logs of Yubico's
// personalisation tool ("OATH-HOTP,date,slot,…" and "serial,,0,seed,…"). A line
// stands for itself: nothing is quoted over line ends.
func readKeyCSV(f *keyFile, file []byte) (format string, err error) {
	format = "OATH CSV"
	lines := bytes.Split(file, []byte("\n"))
	separator := separatorOf(lines)
	var titles map[string]int
	first := true
	for i, raw := range lines {
		line := i + 1
		text := strings.TrimSpace(string(raw))
		if text == "" || text[0] == '#' {
			continue
		}
		if len(text) > 4096 || !utf8.ValidString(text) {
			if err := f.add(line, KeySpec{}, "columns", ""); err != nil {
				return format, err
			}
			continue
		}
		fields := fieldsOf(text, separator)
		if first {
			first = false
			if titles = titlesOf(fields); titles != nil {
				continue
			}
		}
		var spec KeySpec
		var problem, found string
		switch {
		case titles != nil:
			spec, problem, found = titledKey(fields, titles)
		case yubicoLog(fields):
			format = "Yubico CSV"
			spec, problem, found = yubicoLogKey(fields)
		case yubicoSerial(fields):
			format = "Yubico CSV"
			spec, problem, found = yubicoSerialKey(fields)
		case len(fields) < 2:
			spec, problem = KeySpec{Serial: fields[0]}, "columns"
		default:
			spec, problem, found = titledKey(fields, map[string]int{"serial": 0, "seed": 1, "type": 2, "digits": 3, "moving": 4, "hash": 5})
		}
		if err := f.add(line, spec, problem, found); err != nil {
			return format, err
		}
	}
	if len(f.good) == 0 && len(f.bad) > 0 && allColumns(f.bad) {
		return format, &ErrKeyFile{"format", f.bad[0].Line}
	}
	return format, nil
}

// allColumns: no line had the shape of any format.
func allColumns(bad []BadKey) bool {
	for _, b := range bad {
		if b.Problem != "columns" {
			return false
		}
	}
	return true
}

func separatorOf(lines [][]byte) rune {
	for _, l := range lines {
		if t := bytes.TrimSpace(l); len(t) > 0 && t[0] != '#' {
			for _, sep := range []rune{',', ';', '\t'} {
				if bytes.ContainsRune(t, sep) {
					return sep
				}
			}
			return ','
		}
	}
	return ','
}

func fieldsOf(line string, separator rune) []string {
	r := csv.NewReader(strings.NewReader(line))
	r.Comma, r.LazyQuotes, r.TrimLeadingSpace, r.FieldsPerRecord = separator, true, true, -1
	fields, err := r.Read()
	if err != nil {
		fields = strings.Split(line, string(separator))
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	return fields
}

// columnNames are the titles that makers write.
var columnNames = map[string]string{
	"serial": "serial", "serial number": "serial", "serialnumber": "serial", "serial no": "serial", "serialno": "serial", "numéro de série": "serial",
	"seed": "seed", "secret": "seed", "secret key": "seed", "secretkey": "seed", "key": "seed", "otpkey": "seed", "graine": "seed",
	"type": "type", "algorithm": "type", "token type": "type", "digits": "digits", "otplen": "digits", "length": "digits", "otp length": "digits",
	"period": "period", "time interval": "period", "timeinterval": "period", "interval": "period", "timestep": "period", "time step": "period",
	"counter": "counter", "hash": "hash", "hashlib": "hash", "hash algorithm": "hash", "model": "model",
}

// titlesOf reads a line of titles; nil when it is none.
func titlesOf(fields []string) map[string]int {
	titles := map[string]int{}
	for i, f := range fields {
		if name := columnNames[strings.ToLower(f)]; name != "" {
			titles[name] = i
		}
	}
	_, serial := titles["serial"]
	_, seed := titles["seed"]
	if !serial || !seed {
		return nil
	}
	return titles
}

func titledKey(fields []string, titles map[string]int) (spec KeySpec, problem, found string) {
	at := func(name string) string {
		if i, ok := titles[name]; ok && i < len(fields) {
			return fields[i]
		}
		return ""
	}
	spec = KeySpec{Serial: at("serial"), Digits: 6, Period: 30, Hash: hashOf(at("hash")), Model: shorten(at("model"))}
	kind, hash, _ := strings.Cut(strings.ToUpper(strings.TrimPrefix(strings.ToUpper(at("type")), "OATH-")), "-")
	if kind == "" {
		if kind = "HOTP"; at("period") != "" {
			kind = "TOTP"
		}
	}
	if spec.Algorithm = kind; hash != "" {
		spec.Hash = hashOf(hash)
	}
	if spec.Seed = seedOf(at("seed")); spec.Seed == nil {
		return spec, "seed", ""
	}
	moving := "counter"
	if kind == "TOTP" {
		moving = "period"
	}
	number := func(name, text string, to *int64) bool {
		if text == "" {
			return true
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			problem, found = name, text
			return false
		}
		*to = n
		return true
	}
	digits, period := int64(spec.Digits), int64(spec.Period)
	targets := map[string]*int64{"digits": &digits, "period": &period, "counter": &spec.Counter}
	if !number("digits", at("digits"), targets["digits"]) || !number(moving, at("moving"), targets[moving]) ||
		!number("period", at("period"), targets["period"]) || !number("counter", at("counter"), targets["counter"]) {
		return spec, problem, found
	}
	spec.Digits, spec.Period = clampInt(digits), clampInt(period)
	return spec, "", ""
}

// clampInt keeps a number that is out of any range out of range.
func clampInt(n int64) int {
	if n < -1 || n > 1<<30 {
		return -1
	}
	return int(n)
}

// yubicoLog: the "traditional" log of Yubico's tool.
func yubicoLog(fields []string) bool {
	switch strings.ToLower(fields[0]) {
	case "oath-hotp", "yubico otp", "static password", "static password: scan code", "challenge-response", "challenge-response: hmac-sha1":
		return len(fields) >= 6
	}
	return false
}

// yubicoLogKey: OATH-HOTP, date, slot, identifier, , seed, … , digits in the
// twelfth column. Its only name is the identifier that it types before its code.
func yubicoLogKey(fields []string) (spec KeySpec, problem, found string) {
	spec = KeySpec{Serial: fields[3], Algorithm: "HOTP", Hash: "SHA1", Digits: 6, Seed: seedOf(fields[5]), Model: "YubiKey"}
	if strings.ToLower(fields[0]) != "oath-hotp" {
		return spec, "yubico", fields[0]
	}
	if len(fields) > 11 && fields[11] != "" && fields[11] != "0" {
		n, err := strconv.Atoi(fields[11])
		if err != nil {
			return spec, "digits", fields[11]
		}
		spec.Digits = n
	}
	return spec, "", ""
}

// yubicoSerial: "serial, public id, private id, seed, access code, time,".
func yubicoSerial(fields []string) bool {
	if len(fields) < 6 || strings.Trim(fields[0], "0123456789") != "" || len(fields[1]) > 12 {
		return false
	}
	return strings.Contains(fields[5], "T") || fields[5] == ""
}

func yubicoSerialKey(fields []string) (spec KeySpec, problem, found string) {
	spec = KeySpec{Serial: fields[0], Algorithm: "HOTP", Hash: "SHA1", Digits: 6, Seed: seedOf(fields[3]), Model: "YubiKey"}
	if fields[2] != "0" || fields[1] != "" {
		return spec, "yubico", "OTP"
	}
	return spec, "", ""
}
