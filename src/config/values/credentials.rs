//! How the values of `[vault]` and `[credentials.NAME]` are spelled.

use std::path::PathBuf;

use url::Url;

use super::{Read, signal_number};
use crate::config::validated::{OnChange, Owner};

/// `http://HOST[:PORT][/PREFIX]` or the same with `https`, without a slash at its end.
pub(in crate::config) fn vault_address(text: &str) -> Read<String> {
    const FORM: &str =
        "an address such as \"https://vault.example.org:8200\", a path before /v1 with it if there is one";
    address(text).ok_or_else(|| FORM.to_owned())
}

/// An endpoint of AWS's, spelled as an address of Vault's.
pub(in crate::config) fn aws_endpoint(text: &str) -> Read<String> {
    const FORM: &str = "an address such as \"https://vpce-0a1b.secretsmanager.eu-west-1.vpce.amazonaws.com\"";
    address(text).ok_or_else(|| FORM.to_owned())
}

fn address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain = url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    let whole = text.get(..8).is_some_and(|start| start.contains("://"));
    let fine = matches!(url.scheme(), "http" | "https") && whole && plain && anonymous && url.port() != Some(0);
    fine.then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// The name of a secret of AWS's, or its ARN.
pub(in crate::config) fn aws_secret(text: &str) -> Read<String> {
    let one = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&b);
    let is_name = !text.contains(':') || arn_region(text).is_some();
    if (1..=2048).contains(&text.len()) && text.bytes().all(one) && is_name {
        Ok(text.to_owned())
    } else {
        Err("a secret's name such as \"homepage/api-key\", or its ARN: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME"
            .to_owned())
    }
}

/// The region that a secret's ARN names.
pub(in crate::config) fn arn_region(text: &str) -> Option<&str> {
    let parts: Vec<&str> = text.splitn(7, ':').collect();
    match parts[..] {
        ["arn", partition, "secretsmanager", region, _, "secret", name]
            if partition.starts_with("aws") && !region.is_empty() && !name.is_empty() =>
        {
            Some(region)
        }
        _ => None,
    }
}

/// A path of Vault's, without slashes around it.
pub(in crate::config) fn vault_path(text: &str) -> Read<String> {
    let path = text.trim_matches('/');
    let part = |part: &str| !matches!(part, "" | "." | "..");
    if path.len() <= 512 && path.split('/').all(part) && !path.contains(|c: char| c.is_control() || "?#%\\".contains(c))
    {
        Ok(path.to_owned())
    } else {
        Err("a path of Vault's such as \"services/web/api-key\", without \"..\", '?', '#' and '%'".to_owned())
    }
}

/// The path of a file to write.
pub(in crate::config) fn absolute(text: &str) -> Read<PathBuf> {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    match text.strip_prefix('/') {
        Some(rest) if rest.split('/').all(part) && !text.contains(char::is_control) => Ok(PathBuf::from(text)),
        _ => Err("the whole path of a file, such as \"/srv/web/secrets/token\"".to_owned()),
    }
}

/// A file's permissions in octal digits.
pub(in crate::config) fn mode(text: &str) -> Read<u32> {
    const FORM: &str = "permissions in octal digits, such as \"0600\", not for everybody to write";
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if digits && mode <= 0o777 && mode & 0o002 == 0 => Ok(mode),
        _ => Err(FORM.to_owned()),
    }
}

/// `USER`, `USER:GROUP` or `:GROUP`, each a name or a number.
pub(in crate::config) fn owner(text: &str) -> Read<Owner> {
    let one = |name: &str| {
        let fine = name.len() <= 255
            && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-$".contains(&b));
        // What begins as a number is none, or one that the system has.
        fine && (!name.starts_with(|c: char| c.is_ascii_digit()) || name.parse::<u32>().is_ok_and(|id| id < u32::MAX))
    };
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = Some(user).filter(|user| !user.is_empty());
    if (user.is_some() || group.is_some()) && user.into_iter().chain(group).all(one) {
        Ok(Owner { user: user.map(str::to_owned), group: group.map(str::to_owned) })
    } else {
        Err("an owner such as \"www-data\", \"1000:1000\" or \":docker\"".to_owned())
    }
}

/// `none`, `restart` or `signal:NAME`.
pub(in crate::config) fn on_change(text: &str) -> Read<OnChange> {
    match text.split_once(':') {
        None if text == "none" => Ok(OnChange::None),
        None if text == "restart" => Ok(OnChange::Restart),
        Some(("signal", signal)) => signal_number(signal).map(OnChange::Signal),
        _ => Err("none, restart or signal:NAME".to_owned()),
    }
}

/// Characters: a set by its name, or the characters themselves, no one twice.
pub(in crate::config) fn alphabet(text: &str) -> Read<String> {
    let characters = match text {
        "alphanumeric" => "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "hex" => "0123456789abcdef",
        "base64url" => "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz",
        "printable" => PRINTABLE,
        own => own,
    };
    let mut sorted: Vec<char> = characters.chars().collect();
    sorted.sort_unstable();
    let twice = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if twice || sorted.len() < 10 || sorted.iter().any(|c| c.is_control()) {
        Err("alphanumeric, hex, base64url or printable, or 10 or more characters themselves, none twice".to_owned())
    } else {
        Ok(characters.to_owned())
    }
}

/// Every character of ASCII that can be seen.
const PRINTABLE: &str =
    "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";

/// The characters of a class: one by its name, or the characters themselves.
pub(in crate::config) fn class(text: &str) -> &str {
    match text {
        "lower" => "abcdefghijklmnopqrstuvwxyz",
        "upper" => "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "digits" => "0123456789",
        "symbols" => "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
        own => own,
    }
}

/// A template of a URL whose scheme and host are not templates, so that a value cannot lead elsewhere.
pub(in crate::config) fn call_url(text: &str) -> Read<Url> {
    const FORM: &str = "a URL such as \"https://auth.example.org/api/\", with templates in its path or query alone";
    let url = Url::parse(text).map_err(|_| FORM)?;
    let plain = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest));
    let host = url.host_str().is_some_and(|host| !host.is_empty()) && !authority.contains(['{', '}', '%']);
    if matches!(url.scheme(), "http" | "https") && plain && host && url.port() != Some(0) {
        Ok(url)
    } else {
        Err(FORM.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_their_prefix_and_lose_their_slash() {
        for (text, address) in [
            ("https://vault.lan:8200", "https://vault.lan:8200"),
            ("http://127.0.0.1:8200/", "http://127.0.0.1:8200"),
            ("https://proxy.lan/vault/", "https://proxy.lan/vault"),
            ("https://[::1]:8200", "https://[::1]:8200"),
        ] {
            assert_eq!(vault_address(text).as_deref(), Ok(address), "{text}");
        }
        for bad in
            ["", "vault:8200", "https:vault", "unix:///s", "https://a:0", "https://me@a", "https://a?x", "https://a#x"]
        {
            assert!(vault_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_of_aws_are_names_or_arns() {
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:homepage/key-AbCdEf";
        assert_eq!((aws_secret(arn).as_deref(), arn_region(arn)), (Ok(arn), Some("eu-west-1")));
        assert_eq!((aws_secret("homepage/api-key").is_ok(), arn_region("homepage/api-key")), (true, None));
        for bad in
            ["", "a b", "a\n", "a:b", "arn:aws:s3:::bucket", "arn:aws:secretsmanager::1:secret:a", "\u{e4}", "a*"]
        {
            assert!(aws_secret(bad).is_err(), "{bad}");
        }
        assert!(aws_secret(&"a".repeat(2049)).is_err());
        assert!(aws_endpoint("https://me:x@a").is_err());
    }

    #[test]
    fn paths_lead_nowhere_else() {
        assert_eq!(vault_path("/services/web/api key/").as_deref(), Ok("services/web/api key"));
        for bad in ["", "/", "a//b", "../a", "a/..", "a?b", "a#b", "a%2fb", "a\nb"] {
            assert!(vault_path(bad).is_err(), "{bad}");
        }
        assert_eq!(absolute("/srv/a"), Ok(PathBuf::from("/srv/a")));
        for bad in ["", "/", "a", "/srv/", "/srv/../etc/a", "/srv//a", "/srv/a\n"] {
            assert!(absolute(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_are_octal_and_closed_to_others_hands() {
        assert_eq!(["0600", "640", "0444"].map(|text| mode(text).ok()), [Some(0o600), Some(0o640), Some(0o444)]);
        for bad in ["", "600 ", "0o600", "0602", "0777", "1600", "689", "00600", "+600"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn owners_are_names_or_numbers() {
        let some = |text: &str| Some(text.to_owned());
        for (text, user, group) in [
            ("www-data", some("www-data"), None),
            ("1000:1000", some("1000"), some("1000")),
            (":docker", None, some("docker")),
        ] {
            assert_eq!(owner(text), Ok(Owner { user, group }), "{text}");
        }
        for bad in ["", ":", "a:", "a b", "1000x", "-1", "4294967295", "a:b:c"] {
            assert!(owner(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_follows_a_change_is_a_word_or_a_signal() {
        assert_eq!(on_change("signal:HUP"), Ok(OnChange::Signal(1)));
        assert_eq!((on_change("none"), on_change("restart")), (Ok(OnChange::None), Ok(OnChange::Restart)));
        for bad in ["", "signal", "signal:", "signal:NOPE", "recreate", "restart:now"] {
            assert!(on_change(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn alphabets_have_no_character_twice() {
        let length = |text| alphabet(text).map(|all| all.chars().count()).ok();
        assert_eq!(["alphanumeric", "hex", "base64url", "printable"].map(length), [62, 16, 64, 94].map(Some));
        assert_eq!(length("abcdefghij"), Some(10));
        for bad in ["", "abcdefghi", "abcdefghija", "abcdefghij\n"] {
            assert!(alphabet(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_cannot_choose_the_host_of_a_call() {
        assert!(call_url("http://auth:9000/api/{{ field }}/?x={{ value }}").is_ok());
        for bad in [
            "",
            "/api",
            "http://{{ value }}/",
            "http://{{value}}/",
            "http://a.{{value}}:80/",
            "http://a{{ value }}:80/",
            "ftp://a/",
            "http://me:x@a/",
            "http://a/#x",
        ] {
            assert!(call_url(bad).is_err(), "{bad}");
        }
    }
}
