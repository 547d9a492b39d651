<?php
// What docs/integration/roundcube.md tells an integrator to write.
$config = [];
$config['db_dsnw'] = 'sqlite:///{{.Dir}}/roundcube.db?mode=0640';
$config['imap_host'] = 'tls://localhost:{{.IMAPPort}}';
$config['imap_conn_options'] = ['ssl' => ['cafile' => '{{.CAFile}}']];
$config['smtp_host'] = 'tls://localhost:{{.SubmissionPort}}';
$config['smtp_conn_options'] = ['ssl' => ['cafile' => '{{.CAFile}}']];
$config['des_key'] = '{{.Key}}';
$config['log_dir'] = '{{.Dir}}/logs/';
$config['temp_dir'] = '{{.Dir}}/temp/';
$config['plugins'] = [];
$config['skin'] = 'elastic';
$config['language'] = 'fr_FR';

$config['oauth_provider'] = 'generic';
$config['oauth_provider_name'] = 'Beffroi';
$config['oauth_client_id'] = '{{.ClientID}}';
$config['oauth_client_secret'] = '{{.Secret}}';
$config['oauth_auth_uri'] = '{{.Issuer}}/oauth2/authorize';
$config['oauth_token_uri'] = '{{.Issuer}}/oauth2/token';
$config['oauth_identity_uri'] = null;
$config['oauth_scope'] = 'openid profile mail offline_access';
$config['oauth_auth_parameters'] = ['resource' => '{{.Resource}}'];
$config['oauth_identity_fields'] = ['preferred_username'];
$config['oauth_login_redirect'] = true;
