//! `[vault]`, validated. Where it is silent, the variables that the programs of Vault and OpenBao read say it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::checks::Wrong;
use super::credentials::{is_vault, read};
use super::decode::{self, Table, Value, duration_of, integer_of, text_of};
use super::report::Report;
use super::secret::Secret;
use super::validated::{Auth, SecretFrom, Vault};
use super::{host_tls, unwise, values};

/// `[vault]`, where there is such a table or a credential that is read from Vault.
pub(super) fn vault(report: &mut Report, file: &Table, env: &dyn Fn(&str) -> Option<String>) -> Option<Vault> {
    let credentials = decode::named(file, "credentials");
    let needs = credentials.iter().find(|(_, _, table)| text_of(table, "type").is_some_and(is_vault));
    let own = file.get_key_value("vault").map(|(key, _)| key.span());
    let span = own.or(needs.map(|(_, span, _)| span.clone()))?;
    let empty = Table::new();
    let table = decode::table(file, "vault").unwrap_or(&empty);
    let folder = report.folder_at(span.start).to_owned();
    let mut section = Section { report, table, span, folder, env };
    let address = section.address(needs.is_some());
    if address.is_none() && needs.is_none() {
        return None;
    }
    section.verification();
    let (roots, identity) = section.tls();
    let auth = section.auth(identity.is_some());
    let server_name = section.server_name();
    let timeout = section.timeout();
    Some(Vault {
        address: address?,
        namespace: section.text("namespace", "NAMESPACE").map(|namespace| namespace.trim_matches('/').to_owned()),
        roots,
        identity,
        server_name,
        timeout,
        auth: auth?,
        keep: table.get("keep").and_then(|value| value.get_ref().as_bool()).unwrap_or(true),
        logins_per_hour: integer_of(table, "logins_per_hour").unwrap_or(12),
    })
}

/// The table while it is read.
struct Section<'r, 's, 't, 'e> {
    report: &'r mut Report<'s>,
    table: &'t Table<'t>,
    /// Where it stands, else where the first credential does that needs it.
    span: Range<usize>,
    /// What paths in it are relative to.
    folder: PathBuf,
    env: &'e dyn Fn(&str) -> Option<String>,
}

impl Section<'_, '_, '_, '_> {
    /// The variable `BAO_NAME`, else `VAULT_NAME`, with its name; none where it is unset or empty.
    fn variable(&self, name: &str) -> Option<(String, String)> {
        let named = |name: String| (self.env)(&name).map(|value| (name, value));
        named(format!("BAO_{name}")).or_else(|| named(format!("VAULT_{name}")))
    }

    /// A key's text, else the variable's.
    fn text(&self, key: &str, name: &str) -> Option<String> {
        match self.table.get(key) {
            Some(_) => text_of(self.table, key).map(str::to_owned),
            None => self.variable(name).map(|(_, value)| value),
        }
    }

    fn address(&mut self, needed: bool) -> Option<String> {
        const ADDRESS: &str = "address = \"https://HOST:8200\", or $VAULT_ADDR";
        let address = if let Some(value) = self.table.get("address") {
            let address = read(self.table, "address", values::vault_address)?;
            unwise::plain_vault(self.report, "vault.address", &address, value.span());
            address
        } else if let Some((name, value)) = self.variable("ADDR") {
            // It may hold a user name and password.
            match values::vault_address(&value) {
                Ok(address) => address,
                Err(expected) => {
                    self.report.variable(&name, "another address", &expected);
                    return None;
                }
            }
        } else {
            let got = "no address".to_owned();
            if needed {
                self.report.mistake(self.span.clone(), "vault", got, ADDRESS);
            } else {
                self.report.warning(self.span.clone(), "vault", format!("{got}: nothing is read from it"), ADDRESS);
            }
            return None;
        };
        Some(address)
    }

    /// Nothing turns verification off.
    fn verification(&mut self) {
        if let Some((name, value)) = self.variable("SKIP_VERIFY")
            && !matches!(value.trim(), "0" | "f" | "F" | "false" | "False" | "FALSE" | "no" | "off")
        {
            let expected =
                "it unset, and ca_file under [vault]: a server with a certificate of one's own is trusted by that";
            self.report.variable(&name, "it turns verification off, which Iaso never does", expected);
        }
    }

    fn tls(&mut self) -> (Vec<CertificateDer<'static>>, Option<super::validated::ClientIdentity>) {
        let silent = |key: &str| !self.table.contains_key(key);
        let own = |key: &str| text_of(self.table, key).map(|name| self.folder.join(name));
        let foreign = |name: &str| self.variable(name).map(|(variable, path)| (variable, PathBuf::from(path)));
        let pair_is_silent = silent("cert_file") && silent("key_file");
        let bytes = self.variable("CACERT_BYTES").filter(|_| silent("ca_file"));
        let [ca, cert, key] = [
            ("ca_file", "CACERT", silent("ca_file") && bytes.is_none()),
            ("cert_file", "CLIENT_CERT", pair_is_silent),
            ("key_file", "CLIENT_KEY", pair_is_silent),
        ]
        .map(|(key, name, silent)| (key, own(key), foreign(name).filter(|_| silent)));
        let path = |(_, own, foreign): &(_, Option<PathBuf>, Option<(String, PathBuf)>)| {
            own.clone().or_else(|| foreign.as_ref().map(|(_, path)| path.clone()))
        };
        let files = host_tls::Files { ca: path(&ca), cert: path(&cert), key: path(&key) };
        if let (Some(value), Some(path)) = (self.table.get("key_file"), &files.key) {
            unwise::secret_file(self.report, "vault.key_file", path, value.span());
        }
        let tls = match host_tls::read(&files) {
            Ok(tls) => tls,
            Err(host_tls::Wrong { key: wrong, got, expected }) => {
                let variable =
                    [ca, cert, key].into_iter().find(|(key, ..)| *key == wrong).and_then(|(.., foreign)| foreign);
                match variable {
                    Some((name, _)) => self.report.variable(&name, &got, expected),
                    None => self.wrong(Wrong::at(wrong, got, expected)),
                }
                return (Vec::new(), None);
            }
        };
        let mut roots = tls.authorities.unwrap_or_default();
        if let Some((name, pem)) = bytes {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            match found {
                Ok(found) if !found.is_empty() => roots = found,
                _ => self.report.variable(&name, "no certificate", "certificates of authorities in PEM"),
            }
        }
        (roots, tls.identity)
    }

    fn wrong(&mut self, wrong: Wrong) {
        wrong.tell(self.report, "vault", self.table, self.span.clone());
    }

    fn server_name(&mut self) -> Option<String> {
        const NAME: &str = "a host name or an address";
        let name = self.text("server_name", "TLS_SERVER_NAME")?;
        if ServerName::try_from(name.as_str()).is_ok() {
            return Some(name);
        }
        match self.variable("TLS_SERVER_NAME").filter(|_| !self.table.contains_key("server_name")) {
            Some((variable, _)) => self.report.variable(&variable, "another text", NAME),
            None => self.wrong(Wrong::at("server_name", "found another text", NAME)),
        }
        None
    }

    /// Without a unit a variable's number counts seconds.
    fn timeout(&mut self) -> Duration {
        let usual = Duration::from_secs(10);
        if self.table.contains_key("timeout") {
            return duration_of(self.table, "timeout").unwrap_or(usual);
        }
        let Some((name, value)) = self.variable("CLIENT_TIMEOUT") else { return usual };
        let number = value.bytes().all(|b| b.is_ascii_digit());
        let text = if number { format!("{value}s") } else { value };
        values::duration(&text, 1000, 300_000).unwrap_or_else(|expected| {
            self.report.variable(&name, "another time", &expected);
            usual
        })
    }

    fn auth(&mut self, has_identity: bool) -> Option<Auth> {
        let variable = |section: &Self| {
            section.variable("TOKEN").map(|(_, token)| Auth::Token(SecretFrom::Text(Secret::new(token.trim()))))
        };
        let Some(value) = self.table.get("auth") else {
            let auth = variable(self);
            if auth.is_none() {
                self.wrong(Wrong {
                    key: None,
                    got: "no auth".to_owned(),
                    expected: "auth = { type = \"approle\", ... }, or $VAULT_TOKEN".to_owned(),
                });
            }
            return auth;
        };
        let (table, span) = (value.get_ref().as_table()?, value.span());
        let folder = self.report.folder_at(span.start).to_owned();
        let auth = match text_of(table, "type") {
            Some("token") if !table.contains_key("token") && !table.contains_key("token_file") => {
                variable(self).ok_or_else(|| Wrong::lacks(table, "token_file", "\"PATH\", or $VAULT_TOKEN"))
            }
            Some("token") => self.secret(table, &folder, ["token", "token_file"]).map(Auth::Token),
            Some("approle") => self.approle(table, &folder),
            Some("userpass") => self.userpass(table, &folder),
            Some("cert") if has_identity => {
                Ok(Auth::Cert { mount: mount(table, "cert"), name: text_of(table, "name").map(str::to_owned) })
            }
            Some("cert") => {
                Err(Wrong::at("type", "no certificate to log in with", "cert_file and key_file under [vault]"))
            }
            Some(_) => return None,
            None => Err(Wrong::lacks(table, "type", "\"approle\", \"token\", \"userpass\" or \"cert\"")),
        };
        auth.map_err(|wrong| wrong.tell(self.report, "vault.auth", table, span)).ok()
    }

    fn approle(&mut self, table: &Table, folder: &Path) -> Result<Auth, Wrong> {
        let role_id = self.secret(table, folder, ["role_id", "role_id_file"])?;
        let asked = ["secret_id", "secret_id_file"].iter().any(|key| table.contains_key(*key));
        let secret_id = if asked { Some(self.secret(table, folder, ["secret_id", "secret_id_file"])?) } else { None };
        let wrapped_at = read(table, "wrapped_at", values::vault_path);
        if wrapped_at.is_some() && secret_id.is_none() {
            return Err(Wrong::at(
                "wrapped_at",
                "no secret-id that could be wrapped",
                "secret_id_file = \"PATH\" beside it",
            ));
        }
        Ok(Auth::AppRole { mount: mount(table, "approle"), role_id, secret_id, wrapped_at })
    }

    fn userpass(&mut self, table: &Table, folder: &Path) -> Result<Auth, Wrong> {
        let username =
            text_of(table, "username").ok_or_else(|| Wrong::lacks(table, "username", "\"iaso\""))?.to_owned();
        let password = self.secret(table, folder, ["password", "password_file"])?;
        Ok(Auth::Userpass { mount: mount(table, "userpass"), username, password })
    }

    /// A secret by one of the two keys that may hold it: itself, or its file.
    fn secret(&mut self, table: &Table, folder: &Path, [text, file]: [&'static str; 2]) -> Result<SecretFrom, Wrong> {
        match (text_of(table, text), text_of(table, file)) {
            (Some(_), Some(_)) => Err(Wrong::at(file, format!("a file beside {text}"), "one of them")),
            (Some(secret), None) => Ok(SecretFrom::Text(Secret::new(secret.trim_end_matches(['\r', '\n'])))),
            (None, Some(name)) => {
                let path = folder.join(name);
                let span = table.get(file).map_or(0..0, Value::span);
                unwise::secret_file(self.report, &format!("vault.auth.{file}"), &path, span);
                Ok(SecretFrom::File(path))
            }
            // What is there and was refused is told of already.
            (None, None) if table.contains_key(text) => Err(Wrong::lacks(table, text, "\"...\"")),
            (None, None) => Err(Wrong::lacks(table, file, "\"PATH\"")),
        }
    }
}

fn mount(table: &Table, usual: &str) -> String {
    read(table, "mount", values::vault_path).unwrap_or_else(|| usual.to_owned())
}
