// Package helpdesk is the desk at the telephone: helpers who find a person, make
// sure that the caller is that person, and give a lost factor or a locked
// account back, within what a delegation of the configuration lets them.
//
// It promises: one pure decider (Rules.May) stands before every page, action and
// API call, and answers no unless a running delegation says yes; nobody acts on
// themselves or on who holds more rights; a helper never sees a secret that
// could be used later; every action carries a reason, how the caller was
// verified, and its row in the audit, in one transaction; two helpers who act at
// once leave one action and two rows.
package helpdesk
