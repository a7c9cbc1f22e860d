//! `[credentials.NAME]`, validated.

mod rotation;
pub(super) mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::checks::Wrong;
use super::decode::{self, Table, duration_of, integer_of, join, text_of, texts_of};
use super::report::Report;
use super::validated::{AwsSecret, Credential, OnChange, Source, TargetFile, Template};
use super::values::{self, Read};
use super::{files, unwise};

const DAY: Duration = Duration::from_secs(86_400);

const TEMPLATE: &str = "a template such as \"{{ value }}\"";
/// The largest template that is read, in bytes.
const MAX_TEMPLATE: u64 = 1 << 20;

/// Whether what has this type is read from Vault.
pub(super) fn is_vault(kind: &str) -> bool {
    matches!(kind, "kv2" | "kv1" | "dynamic" | "pki")
}

/// A key's value as its kind reads it; none where it is not there, or was refused.
pub(super) fn read<T>(table: &Table, key: &str, how: fn(&str) -> Read<T>) -> Option<T> {
    how(text_of(table, key)?).ok()
}

/// Every credential, by name.
pub(super) fn credentials(report: &mut Report, file: &Table) -> Vec<Arc<Credential>> {
    let services: BTreeSet<&str> = decode::named(file, "services").into_iter().map(|(name, ..)| name).collect();
    let mut found = Vec::new();
    let mut written = BTreeMap::new();
    for (name, span, table) in decode::named(file, "credentials") {
        let path = join("credentials", name);
        let mut one = One { folder: report.folder_at(span.start).to_owned(), report, path, name, span, table };
        found.extend(one.credential(&services, &mut written).map(Arc::new));
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// One table while it is read.
struct One<'r, 's, 't> {
    report: &'r mut Report<'s>,
    /// What paths in it are relative to.
    folder: PathBuf,
    /// `credentials.NAME`.
    path: String,
    name: &'t str,
    span: Range<usize>,
    table: &'t Table<'t>,
}

impl One<'_, '_, '_> {
    /// `written` are the places of the files of the credentials before it, and where they are named.
    fn credential(&mut self, known: &BTreeSet<&str>, written: &mut BTreeMap<PathBuf, String>) -> Option<Credential> {
        let table = self.table;
        let services = self.services(known);
        let source = self.source();
        let files = self.files(written);
        let on_change = read(table, "on_change", values::on_change).unwrap_or(OnChange::None);
        if on_change != OnChange::None && !table.contains_key("services") {
            self.wrong(Wrong::at("on_change", "nobody who is told", "services = [\"NAME\"] beside it"));
        }
        let rotation = rotation::rotation(self.report, &self.path, table, known);
        let source = source?;
        if rotation.is_some() && !matches!(source, Source::Kv2 { .. }) {
            let got = format!("what is of type {} cannot be written by Iaso", source.kind());
            self.wrong(Wrong::at("rotation", got, "type = \"kv2\", or no rotation"));
        }
        if let (Some(rotation), true, Some(value)) = (&rotation, services.is_empty(), table.get("rotation"))
            && rotation.verify.is_none()
        {
            let got = "nothing shows whether a new value works".to_owned();
            self.report.warning(
                value.span(),
                &format!("{}.rotation", self.path),
                got,
                "verify, or services that use it",
            );
        }
        let max_per_hour = integer_of(table, "max_per_hour").unwrap_or(6);
        if let Some(value) = table.get("services").filter(|_| on_change != OnChange::None) {
            let place = table.get("max_per_hour").unwrap_or(value).span();
            unwise::scarce(self.report, &join(&self.path, "max_per_hour"), services.len(), max_per_hour, place);
        }
        let usual = match &source {
            Source::Dynamic { .. } => "password",
            Source::Pki { .. } => "certificate",
            _ => "value",
        };
        Some(Credential {
            name: self.name.into(),
            field: text_of(table, "field").unwrap_or(usual).to_owned(),
            refresh: duration_of(table, "refresh").unwrap_or(Duration::from_secs(300)),
            warn_before: duration_of(table, "warn_before").unwrap_or_else(|| warn_before(table, &source)),
            files,
            services,
            on_change,
            splay: duration_of(table, "splay").unwrap_or(Duration::from_secs(5)),
            max_per_hour,
            mints_per_hour: integer_of(table, "mints_per_hour").unwrap_or(6),
            rotation,
            source,
        })
    }

    fn wrong(&mut self, wrong: Wrong) {
        wrong.tell(self.report, &self.path, self.table, self.span.clone());
    }

    fn services(&mut self, known: &BTreeSet<&str>) -> Vec<Arc<str>> {
        let mut services: Vec<Arc<str>> = Vec::new();
        for (index, (name, place)) in decode::names_of(self.table, "services").into_iter().enumerate() {
            let path = format!("{}.services[{index}]", self.path);
            if !known.contains(name) {
                self.report.unknown(place, &path, "service", name, known.iter().copied());
            } else if services.iter().any(|other| **other == *name) {
                let got = format!("{} a second time", self.report.shown(&place, name));
                self.report.mistake(place, &path, got, "each service once");
            } else {
                services.push(name.into());
            }
        }
        services
    }

    fn source(&mut self) -> Option<Source> {
        let table = self.table;
        let source = match text_of(table, "type") {
            Some("kv2") => self.kv2(),
            Some("kv1") => at(table, "path", values::vault_path, "\"homepage/api-key\"")
                .map(|path| Source::Kv1 { mount: mount(table, "secret"), path }),
            Some("dynamic") => {
                at(table, "path", values::vault_path, "\"database/creds/ROLE\"").map(|path| Source::Dynamic { path })
            }
            Some("pki") => pki(table),
            Some("aws") => self.aws(),
            Some("environment") => text_of(table, "variable")
                .map(|variable| Source::Environment { variable: variable.to_owned() })
                .ok_or_else(|| Wrong::lacks(table, "variable", "\"NAME\"")),
            Some("file") => self.place("\"/run/secrets/NAME\"").map(|path| Source::File { path }),
            Some("directory") => self.place("\"/run/secrets\"").map(|path| Source::Directory { path }),
            Some(_) => return None,
            None => Err(Wrong::lacks(table, "type", "\"kv2\", or another one")),
        };
        source.map_err(|wrong| self.wrong(wrong)).ok()
    }

    fn kv2(&self) -> Result<Source, Wrong> {
        let table = self.table;
        let kind = read(table, "kind", values::vault_path);
        if kind.is_some() && table.contains_key("path") {
            return Err(Wrong::at("kind", "no use for it beside a path", "one of them"));
        }
        let first = decode::names_of(table, "services").first().map(|(name, _)| (*name).to_owned());
        let path = match (read(table, "path", values::vault_path), first) {
            (Some(path), _) => path,
            (None, Some(service)) if !table.contains_key("path") => {
                format!("services/{service}/{}", kind.as_deref().unwrap_or(self.name))
            }
            _ => {
                return Err(Wrong::lacks(
                    table,
                    "path",
                    "\"services/SERVICE/KIND\", or services that it can be told by",
                ));
            }
        };
        if path == "data" || path.starts_with("data/") {
            return Err(Wrong::at("path", "a path that begins with data/", "the path without it: Iaso puts it there"));
        }
        Ok(Source::Kv2 { mount: mount(table, "secret"), path })
    }

    fn aws(&mut self) -> Result<Source, Wrong> {
        let table = self.table;
        if !cfg!(feature = "aws") {
            let expected = "a build with it: cargo build --release --features aws";
            return Err(Wrong::at("type", "this build of Iaso has no support of AWS", expected));
        }
        let secret_id = at(table, "secret_id", values::aws_secret, "\"homepage/api-key\"")?;
        let own = text_of(table, "region").filter(|region| values::name(region).is_ok());
        let arns = values::arn_region(&secret_id);
        if let (Some(own), Some(arns)) = (own, arns)
            && own != arns
        {
            return Err(Wrong::at("region", "another region than the ARN's", format!("\"{arns}\", or no region")));
        }
        let region = own.or(arns).map(str::to_owned);
        let endpoint = read(table, "endpoint", values::aws_endpoint);
        if let (Some(endpoint), Some(value)) = (&endpoint, table.get("endpoint")) {
            unwise::plain_aws(self.report, &format!("{}.endpoint", self.path), endpoint, value.span());
        }
        let version_stage = text_of(table, "version_stage").unwrap_or("AWSCURRENT").to_owned();
        Ok(Source::Aws(AwsSecret { secret_id, region, version_stage, endpoint }))
    }

    fn place(&self, example: &str) -> Result<PathBuf, Wrong> {
        let path = text_of(self.table, "path").map(|path| self.folder.join(path));
        path.ok_or_else(|| Wrong::lacks(self.table, "path", example))
    }

    fn files(&mut self, written: &mut BTreeMap<PathBuf, String>) -> Vec<TargetFile> {
        let items = self.table.get("files").and_then(|value| value.get_ref().as_array()).into_iter().flatten();
        let mut found = Vec::new();
        for (index, item) in items.enumerate() {
            let Some(table) = item.get_ref().as_table() else { continue };
            let path = format!("{}.files[{index}]", self.path);
            // The lists of several files of the configuration are one.
            let folder = self.report.folder_at(item.span().start).to_owned();
            match self.file(table, &path, &folder, written) {
                Ok(file) => found.push(file),
                Err(wrong) => wrong.tell(self.report, &path, table, item.span()),
            }
        }
        found
    }

    fn file(
        &mut self,
        table: &Table,
        here: &str,
        folder: &Path,
        written: &mut BTreeMap<PathBuf, String>,
    ) -> Result<TargetFile, Wrong> {
        let path = at(table, "path", values::absolute, "\"/srv/NAME/secrets/token\"")?;
        if let Some(other) = written.insert(targets::place_of(&path), here.to_owned()) {
            return Err(Wrong::at("path", format!("the same file as {other}"), "a file of its own"));
        }
        let mode = read(table, "mode", values::mode).unwrap_or(0o600);
        if let Some(value) = table.get("mode").filter(|_| mode & 0o004 != 0) {
            let got = "everybody on this machine may read the secret".to_owned();
            self.report.warning(value.span(), &format!("{here}.mode"), got, "\"0640\" and an owner");
        }
        let template = match (text_of(table, "template"), text_of(table, "template_file")) {
            (Some(_), Some(_)) => return Err(Wrong::at("template_file", "a file beside template", "one of them")),
            (Some(text), None) => {
                Some(Template::Text(parsed(text).map_err(|why| Wrong::at("template", why, TEMPLATE))?))
            }
            (None, Some(name)) => Some(Template::File(template(&folder.join(name))?)),
            (None, None) => None,
        };
        Ok(TargetFile { path, mode, owner: read(table, "owner", values::owner), template })
    }
}

/// A key that must be there.
fn at<T>(table: &Table, key: &'static str, how: fn(&str) -> Read<T>, example: &str) -> Result<T, Wrong> {
    read(table, key, how).ok_or_else(|| Wrong::lacks(table, key, example))
}

fn mount(table: &Table, usual: &str) -> String {
    read(table, "mount", values::vault_path).unwrap_or_else(|| usual.to_owned())
}

/// A template's file that can be read now. It is read again at each rendering.
fn template(path: &Path) -> Result<PathBuf, Wrong> {
    const FILE: &str = "a readable file that holds a template, in UTF-8";
    let wrong = |why: &str| Wrong::at("template_file", format!("{}: {why}", path.display()), FILE);
    let bytes = files::bounded(path, MAX_TEMPLATE).map_err(|unread| wrong(&unread.got))?;
    let text = std::str::from_utf8(&bytes.content).map_err(|_| wrong("not UTF-8"))?;
    parsed(text).map_err(|why| wrong(&why))?;
    Ok(path.to_owned())
}

/// A template as far as can be told without values: what stands in it is seen when it is rendered.
fn parsed(text: &str) -> Result<String, String> {
    match minijinja::Environment::empty().template_from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            Err(format!("line {}: {what}", error.line().unwrap_or(1)))
        }
    }
}

fn pki(table: &Table) -> Result<Source, Wrong> {
    let role = at(table, "role", values::vault_path, "\"internal\"")?;
    let name =
        text_of(table, "common_name").ok_or_else(|| Wrong::lacks(table, "common_name", "\"web.example.org\""))?;
    let mut request = BTreeMap::from([("common_name".to_owned(), name.to_owned())]);
    for key in ["alt_names", "ip_sans"] {
        let texts = texts_of(table, key);
        if texts.iter().any(|text| text.contains(',')) {
            return Err(Wrong::at(key, "a comma in one of them", "each as a text of its own"));
        }
        if !texts.is_empty() {
            request.insert(key.to_owned(), texts.join(","));
        }
    }
    if let Some(ttl) = duration_of(table, "ttl") {
        request.insert("ttl".to_owned(), format!("{}s", ttl.as_secs()));
    }
    Ok(Source::Pki { mount: mount(table, "pki"), role, request })
}

/// How long before its end people are warned, where the table does not say it. What lives for an hour would else be warned of
/// all the time.
fn warn_before(table: &Table, source: &Source) -> Duration {
    match source {
        Source::Dynamic { .. } => Duration::from_secs(600),
        Source::Pki { .. } => duration_of(table, "ttl").map_or(7 * DAY, |ttl| (ttl / 10).min(7 * DAY)),
        _ => 7 * DAY,
    }
}
