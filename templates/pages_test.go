package templates

// pages lists every page once, so that its template is checked against it;
// TestEveryPageIsListed names those that are missing.
var pages = []Page{
	&AccountLock{}, &AccountLocked{}, &AccountNotme{},
	&AccountCard{}, &AccountFactor{}, &AccountHistory{}, &AccountKeys{}, &AccountMail{}, &AccountOverview{}, &AccountPhrase{}, &AccountPasskey{}, &AccountRecovery{}, &AccountSessions{}, &AccountTOTP{},
	&AgendaDelete{}, &AgendaEdit{}, &AgendaEvent{}, &AgendaOverview{},
	&ContactsCard{}, &ContactsDelete{}, &ContactsEdit{}, &ContactsList{}, &ContactsPerson{},
	&HelpdeskFollowUp{}, &HelpdeskImport{}, &HelpdeskKey{}, &HelpdeskKeys{}, &HelpdeskLetters{}, &HelpdeskPerson{}, &HelpdeskRefused{}, &HelpdeskRequests{}, &HelpdeskSchool{}, &HelpdeskSearch{},
	&OidcAnswer{}, &OidcConnected{}, &OidcConsent{}, &OidcLeaving{}, &OidcLoggedOut{}, &OidcLogout{}, &OidcLogoutRefused{},
	&PortalExpired{}, &PortalHome{}, &PortalSignedOut{}, &PortalOffline{},
	&SigninChoice{}, &SigninEnrol{}, &SigninFactor{}, &SigninLetter{}, &SigninLost{}, &SigninNotice{}, &SigninOutcome{},
	&SigninPassword{}, &SigninRefused{}, &SigninSignout{},
	&OidcDevice{}, &OidcDeviceConfirm{},
	&WebError{},
	&WebmailBadge{}, &WebmailBox{}, &WebmailCompose{}, &WebmailReading{}, &WebmailOutbox{}, &WebmailSearch{}, &WebmailConversation{}, &WebmailConversation{Part: true}, &WebmailSenders{}, &WebmailSettings{}, &WebmailQuota{}, &WebmailSender{}, &WebmailLabels{}, &WebmailDrop{}, &WebmailSignature{}, &WebmailIdentities{}, &WebmailNotify{}, &WebmailImport{}, &WebmailEmbedded{Message: &MailMessage{}}, &WebmailTexts{}, &WebmailFiles{}, &WebmailGuest{}, &WebmailScheduled{}, &WebmailShares{}, &WebmailShare{}, &WebmailFilters{}, &WebmailFilter{}, &WebmailAbsence{},
}
