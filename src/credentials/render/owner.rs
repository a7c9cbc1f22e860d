//! Whom a file shall belong to: numbers, or names of this machine's own files. The C library's name service is never asked.

use std::fs;
use std::path::Path;

use rustix::process::{getegid, geteuid};

use crate::config::validated::Owner;

/// A user and a group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Ids {
    /// Those of this process.
    pub(super) fn own() -> Self {
        Self { user: geteuid().as_raw(), group: getegid().as_raw() }
    }
}

/// The numbers of an owner; an error says who is not known, and where.
pub(super) fn resolve(owner: Option<&Owner>) -> Result<Ids, String> {
    let mut ids = Ids::own();
    let Some(owner) = owner else { return Ok(ids) };
    if let Some(user) = &owner.user {
        ids.user = number(user, "user", Path::new("/etc/passwd"))?;
    }
    if let Some(group) = &owner.group {
        ids.group = number(group, "group", Path::new("/etc/group"))?;
    }
    Ok(ids)
}

fn number(name: &str, what: &str, file: &Path) -> Result<u32, String> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return usable(name).ok_or_else(|| format!("{name} is no {what}'s number; expected 0 to 4294967294"));
    }
    let lines = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    listed(&lines, name).ok_or_else(|| format!("there is no {what} {name} in {}", file.display()))
}

/// The number in the third column, as both files have it.
fn listed(lines: &str, name: &str) -> Option<u32> {
    let mut columns = lines.lines().map(|line| line.split(':'));
    columns.find_map(|mut columns| (columns.next() == Some(name)).then(|| columns.nth(1)).flatten().and_then(usable))
}

/// The largest number means nobody to the system.
fn usable(number: &str) -> Option<u32> {
    number.parse().ok().filter(|number| *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\n# a remark\n\nweb:x:33:34:www:/var:/bin/false\nbroken:x\nodd:x:-1:1";

    #[test]
    fn names_are_looked_up_in_the_third_column() {
        for (name, number) in
            [("root", Some(0)), ("web", Some(33)), ("we", None), ("broken", None), ("odd", None), ("", None)]
        {
            assert_eq!(listed(PASSWD, name), number, "{name}");
        }
    }

    #[test]
    fn numbers_need_no_file_and_the_one_that_means_nobody_is_refused() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(number("1000", "user", nowhere), Ok(1000));
        assert!(number("4294967295", "user", nowhere).unwrap_err().contains("expected 0 to 4294967294"));
        assert!(number("web", "user", nowhere).unwrap_err().starts_with("cannot read /nonexistent"));
        let absent = resolve(Some(&Owner { user: Some("nobody-of-that-name".to_owned()), group: None }));
        assert_eq!(absent, Err("there is no user nobody-of-that-name in /etc/passwd".to_owned()));
    }

    #[test]
    fn what_is_not_asked_stays_as_this_process_has_it() {
        let group = Owner { user: None, group: Some("7".to_owned()) };
        assert_eq!(resolve(Some(&group)), Ok(Ids { group: 7, ..Ids::own() }));
        assert_eq!(resolve(None), Ok(Ids::own()));
    }
}
