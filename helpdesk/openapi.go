package helpdesk

import (
	"regexp"
	"slices"
	"strings"
)

// openAPI is the document of the API (OpenAPI 3.1.0), made of the table of
// operations: what is not in the one is not in the other.
func openAPI(issuer string) map[string]any {
	type object = map[string]any
	text, flag, number := object{"type": "string"}, object{"type": "boolean"}, object{"type": "integer"}
	moment := object{"type": "string", "format": "date-time"}
	list := func(of any) object { return object{"type": "array", "items": of} }
	ref := func(name string) object { return object{"$ref": "#/components/schemas/" + name} }
	who := object{"sub": text, "login": text, "name": text, "mail": text, "schools": list(text), "disabled": flag}
	person := object{"sensitive": flag, "locked_since": moment, "sessions": number, "factors": list(object{"type": "object", "properties": object{"id": text, "kind": text, "name": text, "created": moment, "used": moment}})}
	for k, v := range who {
		person[k] = v
	}
	scopes := object{}
	for _, s := range apiScopes() {
		scopes[s] = "helpdesk: " + strings.TrimPrefix(s, "helpdesk:")
	}
	paths := object{}
	for _, o := range operations {
		var parameters []any
		for _, name := range wildcards.FindAllStringSubmatch(o.path, -1) {
			parameters = append(parameters, object{"name": name[1], "in": "path", "required": true, "schema": text, "description": map[string]string{"person": "sub or login", "id": "of the request"}[name[1]]})
		}
		for name, meaning := range o.query {
			parameters = append(parameters, object{"name": name, "in": "query", "required": true, "schema": text, "description": meaning})
		}
		responses := object{
			"400": object{"description": "An unknown parameter or member, or a body that is not JSON", "content": object{"application/json": object{"schema": ref("Problem")}}},
			"401": object{"description": "No token, or one that does not live (RFC 6750)"},
			"403": object{"description": "The token lacks the scope, or the delegation does not allow it: see reason", "content": object{"application/json": object{"schema": ref("Problem")}}},
			"404": object{"description": "No such person or request", "content": object{"application/json": object{"schema": ref("Problem")}}},
		}
		asks := []string{o.scope}
		if o.scope == "" {
			asks = apiScopes()
		}
		// One of several scopes is enough: each is an alternative of its own.
		var security []any
		for _, s := range asks {
			security = append(security, object{"application": []string{s}})
		}
		call := object{"summary": o.summary, "operationId": operationID(o), "security": security, "responses": responses}
		switch {
		case o.order != "":
			parameters = append(parameters, object{"name": "Idempotency-Key", "in": "header", "required": false, "schema": object{"type": "string", "maxLength": 200}, "description": "The same key with the same order gets the same answer for 24 hours"})
			call["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": ref("Order")}}}
			responses["200"] = object{"description": "Done", "content": object{"application/json": object{"schema": ref("Done")}}}
			responses["409"] = object{"description": "Nothing to do, or the same waits or runs already", "content": object{"application/json": object{"schema": ref("Problem")}}}
			responses["415"] = object{"description": "The body is not sent as application/json"}
			responses["422"] = object{"description": "No reason, or the caller was not verified", "content": object{"application/json": object{"schema": ref("Problem")}}}
			if rules[o.order].second {
				responses["202"] = object{"description": "A sensitive account: it waits for a second person", "content": object{"application/json": object{"schema": ref("Done")}}}
			}
		case strings.HasSuffix(o.path, "/people"):
			responses["200"] = object{"description": "The people found, at most 30", "content": object{"application/json": object{"schema": object{"type": "object", "properties": object{"people": list(ref("Who")), "more": flag}}}}}
		case strings.HasSuffix(o.path, "{person}"):
			responses["200"] = object{"description": "The person", "content": object{"application/json": object{"schema": ref("Person")}}}
		default:
			responses["200"] = object{"description": "The request", "content": object{"application/json": object{"schema": ref("Request")}}}
		}
		if parameters != nil {
			call["parameters"] = parameters
		}
		at, _ := paths[o.path].(object)
		if at == nil {
			at = object{}
			paths[o.path] = at
		}
		at[strings.ToLower(o.method)] = call
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "Beffroi, helpdesk", "version": "1", "description": "What the desk does, for the ticketing tool: the same rules, the same trail. A pass is not given here: its code is for one helper's eyes."},
		"servers": []any{object{"url": issuer}},
		"paths":   paths,
		"components": object{
			"securitySchemes": object{"application": object{"type": "oauth2", "flows": object{"clientCredentials": object{"tokenUrl": issuer + "/oauth2/token", "scopes": scopes}}}},
			"schemas": object{
				"Order": object{"type": "object", "additionalProperties": false, "required": []string{"reason"}, "properties": object{
					"reason": object{"type": "string", "minLength": reasonLeast, "maxLength": reasonMost}, "verified": object{"type": "string", "enum": []string{ByCallback, InPerson}},
					"phrase": object{"type": "string", "description": "the three words that the caller reads"}, "agent": object{"type": "string", "description": "login of the helper for whom the tool acts"},
					"factor": object{"type": "string", "description": "reset: this factor only"}}},
				"Done":    object{"type": "object", "required": []string{"status"}, "properties": object{"status": object{"type": "string", "enum": []string{"done", "waiting"}}, "removed": number, "request": text}},
				"Who":     object{"type": "object", "properties": who},
				"Person":  object{"type": "object", "properties": person},
				"Request": object{"type": "object", "properties": object{"id": text, "action": text, "sub": text, "state": object{"type": "string", "enum": []string{"open", "done", "refused", "ended"}}, "created": moment, "ends": moment, "answer": text}},
				"Problem": object{"type": "object", "required": []string{"title", "status", "reason"}, "properties": object{"type": text, "title": text, "status": number, "reason": text, "schools": list(text), "name": text}},
			},
		},
	}
}

var wildcards = regexp.MustCompile(`\{(\w+)\}`)

// operationID is "getPeople", "resetPerson"…
func operationID(o operation) string {
	words := strings.FieldsFunc(strings.TrimPrefix(o.path, "/api/helpdesk"), func(r rune) bool { return strings.ContainsRune("/{}", r) })
	words = append([]string{strings.ToLower(o.method)}, words...)
	for i := range words[1:] {
		words[i+1] = strings.ToUpper(words[i+1][:1]) + words[i+1][1:]
	}
	return strings.Join(slices.Compact(words), "")
}
