use super::*;

const PLANTED: &str = "hunter2-planted";

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

fn context(fields: &Fields) -> Context<'_> {
    Context { credential: "db", field: "password", fields, version: Some(7), old: None }
}

#[track_caller]
fn renders(text: &str, expected: &str) {
    let fields = fields(&[
        ("password", PLANTED),
        ("user", "o'neil & <sons>"),
        ("tls.crt", "line 1\nline 2"),
        ("credential", "not the name"),
        ("value", "not the value"),
    ]);
    assert_eq!(render("t", text, &context(&fields)).unwrap().expose(), expected, "{text}");
}

/// The words of the error, which never hold a value.
#[track_caller]
fn fails(text: &str) -> String {
    let fields = fields(&[("password", PLANTED), ("user", "web")]);
    let error = render("files[0]", text, &context(&fields)).unwrap_err();
    let (shown, debugged) = (error.to_string(), format!("{error:?}"));
    assert!(!shown.contains(PLANTED) && !debugged.contains(PLANTED), "{text}: {debugged}");
    assert!(!shown.contains('\n'), "{text}: {shown}");
    shown
}

#[test]
fn every_value_has_its_name_and_nothing_is_escaped() {
    renders("{{ value }}|{{ password }}|{{ field }}", "hunter2-planted|hunter2-planted|password");
    renders("{{ credential }} {{ version }}", "db 7");
    renders("{{ user }}", "o'neil & <sons>");
    renders("{{ fields['tls.crt'] }}\n", "line 1\nline 2\n");
    renders("{{ fields.credential }} {{ fields.value }}", "not the name not the value");
    renders(
        "{% for name, text in fields|dictsort %}{{ name }};{% endfor %}",
        "credential;password;tls.crt;user;value;",
    );
    renders("", "");
}

#[test]
fn filters_quote_for_where_a_value_goes() {
    renders("{{ user|b64encode }}", "byduZWlsICYgPHNvbnM+");
    renders("{{ user|quote_shell }}", "\"o'neil & <sons>\"");
    renders("{{ user|urlencode }}", "o%27neil%20%26%20%3Csons%3E");
    // Escapes that JSON and YAML read back as what they stand for.
    renders("{{ user|tojson }}", r#""o\u0027neil \u0026 \u003csons\u003e""#);
    renders("{{ fields['tls.crt']|indent(2) }}", "line 1\n  line 2");
    renders("{{ port|default('5432') }}", "5432");
}

#[test]
fn what_was_before_a_rotation_is_there_during_one() {
    let (fields, old) = (fields(&[("password", "new")]), Secret::new("old"));
    let during = Context { old: Some(&old), ..context(&fields) };
    assert_eq!(render("t", "{{ old }}>{{ value }}", &during).unwrap().expose(), "old>new");
    let error = render("t", "{{ old }}", &context(&fields)).unwrap_err().to_string();
    assert!(error.starts_with("t, line 1: old is not defined"), "{error}");
}

#[test]
fn a_missing_name_is_an_error_that_says_which_and_where() {
    let known = "expected one of value, credential, field, fields, version, password, user";
    assert_eq!(fails("a\n{{ user }}\n{{ passwrd }}"), format!("files[0], line 3: passwrd is not defined; {known}"));
    assert_eq!(fails("{{ fields.passwrd }}"), format!("files[0], line 1: fields.passwrd is not defined; {known}"));
    assert!(fails("{{ passwrd|b64encode }}").contains("line 1: "), "{}", fails("{{ passwrd|b64encode }}"));
    assert!(fails("{{ fields['tls.key'] }}").contains("line 1: fields['tls.key'] is not defined"));
    assert!(fails("{{ fields[user ~ 'x'] }}").contains("line 1: a name is not defined"));
    assert!(fails("{% if passwrd %}{% endif %}").contains("is not defined"));
    let none = Fields::new();
    let bare = Context { version: None, ..context(&none) };
    let error = render("t", "{{ version }}", &bare).unwrap_err().to_string();
    assert!(error.contains("version is not defined"), "{error}");
    let usual = fields(&[("value", "x"), ("user", "y")]);
    let error = render("t", "{{ x }}", &Context { field: "value", ..context(&usual) }).unwrap_err().to_string();
    assert!(error.ends_with("expected one of value, credential, field, fields, version, user"), "{error}");
}

#[test]
fn a_mistake_is_named_with_its_line() {
    for (text, line, what) in [
        ("{{ user", 1, "syntax error: "),
        ("\n{% if user %}\n", 2, "syntax error: "),
        ("\n\n{{ user|upperr }}", 3, "unknown filter: filter upperr is unknown"),
        ("{{ now() }}", 1, "unknown function: now is unknown"),
        ("\n{{ user is shiny }}", 2, "unknown test: test shiny is unknown"),
        ("{{ user.shout() }}", 1, "unknown method: "),
    ] {
        let words = fails(text);
        assert!(words.starts_with(&format!("files[0], line {line}: {what}")), "{text}: {words}");
    }
}

#[test]
fn values_stay_out_of_errors_that_work_on_them() {
    for text in [
        "{{ value + 1 }}",
        "{{ value / user }}",
        "{{ value() }}",
        "{{ value|int }}",
        "{{ value|items }}",
        "{{ fields[value] }}",
        "{{ fields|sum }}",
        "{{ {}[value].x }}",
        "{{ value|indent(value) }}",
        "{{ range(value) }}",
        "{{ [value]|sort(value) }}",
        "{{ 1|round(value) }}",
        "{{ '%d'|format(value) }}",
        "{{ (value ~ '\0')|replace('\0', '\\0')|tojson(indent=value) }}",
        "{{ dict(value) }}",
        "{{ debug() }}",
        "{{ ('a\0' ~ value)|quote_shell }}",
    ] {
        fails(text);
    }
}

#[test]
fn nothing_else_is_read_and_nothing_grows_without_end() {
    for text in ["{% include '/etc/passwd' %}", "{% import 'x' as x %}", "{% extends 'x' %}"] {
        assert!(fails(text).contains("syntax error"), "{text}");
    }
    assert!(fails("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}").contains("steps"));
    let words = fails("{% for a in range(9000) %}{{ 'x' * 1000 }}{% endfor %}");
    assert!(words.ends_with("its text grows beyond 8388608 bytes"), "{words}");
    renders("{{ ('x' * 8388608)|length }}", "8388608");
}

#[test]
fn a_target_without_template_holds_the_field_alone() {
    let (mut fields, dir) = (fields(&[("password", PLANTED)]), tempfile::tempdir().unwrap());
    let path = dir.path().join("t.conf");
    let mut target = TargetFile { path: dir.path().join("out"), mode: 0o600, owner: None, template: None };
    let text = |target: &TargetFile, fields: &Fields| contents(target, 2, &context(fields));
    assert_eq!(text(&target, &fields).unwrap().expose(), PLANTED);
    fields.remove("password");
    fields.insert("user".to_owned(), Secret::new("web"));
    let error = text(&target, &fields).unwrap_err().to_string();
    assert_eq!(error, "credentials.db.files[2]: the credential has no field password; it has user");

    target.template = Some(Template::Text("u={{ user }}\n".to_owned()));
    assert_eq!(text(&target, &fields).unwrap().expose(), "u=web\n");
    target.template = Some(Template::Text("{{ x }}".to_owned()));
    assert!(text(&target, &fields).unwrap_err().to_string().starts_with("credentials.db.files[2], line 1: x "));

    target.template = Some(Template::File(path.clone()));
    assert!(text(&target, &fields).unwrap_err().to_string().contains("t.conf: cannot read the template: No such file"));
    std::fs::write(&path, "\n{{ x }}").unwrap();
    let error = text(&target, &fields).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}, line 2: x is not defined", path.display())), "{error}");
    std::fs::write(&path, "file {{ user }}").unwrap();
    assert_eq!(text(&target, &fields).unwrap().expose(), "file web");
    std::fs::write(&path, [0xff]).unwrap();
    assert!(text(&target, &fields).unwrap_err().to_string().contains("UTF-8"));
    std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(text(&target, &fields).unwrap_err().to_string().ends_with("the template has more than 1048576 bytes"));
}

#[test]
fn no_filter_takes_what_is_missing_for_nothing() {
    for filter in [
        "safe",
        "lower",
        "upper",
        "title",
        "capitalize",
        "replace('a', 'b')",
        "reverse",
        "trim",
        "float",
        "sum",
        "string",
        "bool",
        "batch(2)",
        "slice(2)",
        "indent(2)",
        "select",
        "reject",
        "map('upper')",
        "unique",
        "int",
        "b64encode",
        "quote_shell",
        "urlencode",
        "tojson",
        "tojson(indent=2)",
        "length",
    ] {
        let words = fails(&format!("\n{{{{ passwrd|{filter} }}}}"));
        assert!(words.starts_with("files[0], line 2: passwrd is not defined; "), "{filter}: {words}");
    }
    // These cannot tell what is missing from what is of another kind.
    for filter in ["dictsort", "items", "split", "lines", "round", "abs", "first", "last", "min", "sort", "list"] {
        assert_eq!(fails(&format!("\n{{{{ passwrd|{filter} }}}}")), "files[0], line 2: invalid operation");
    }
    for filter in [
        "escape",
        "e",
        "join",
        "groupby('x')",
        "chain",
        "zip",
        "pprint",
        "count",
        "d('x')",
        "format",
        "selectattr('x')",
        "rejectattr('x')",
    ] {
        assert!(fails(&format!("{{{{ passwrd|{filter} }}}}")).contains("unknown filter"), "{filter}");
    }
    assert!(fails("{{ 'a' ~ passwrd }}").contains("is not defined"));
    assert!(fails("{{ fields['tls.key'] | trim }}").contains("fields['tls.key'] is not defined"));
}

#[test]
fn a_comparison_with_what_is_missing_is_an_error() {
    for condition in [
        "passwrd == 'x'",
        "passwrd != ''",
        "'x' == fields.passwrd",
        "passwrd < 'x'",
        "passwrd >= 'x'",
        "passwrd in 'abc'",
        "'a' in passwrd",
        "'a' not in fields['tls.key']",
        "not passwrd",
        "passwrd and user",
        "passwrd or user",
        "user and passwrd",
        "passwrd|length > 3",
        "passwrd is startingwith('x')",
        "user is startingwith(passwrd)",
    ] {
        let words = fails(&format!("{{% if {condition} %}}yes{{% else %}}no{{% endif %}}"));
        assert!(words.contains("is not defined; expected one of value, credential"), "{condition}: {words}");
        for wrong in ["if", "not", "user", "is", "startingwith", "fields"] {
            assert!(!words.contains(&format!(": {wrong} is not defined")), "{condition}: {words}");
        }
    }
}

#[test]
fn whether_a_name_is_there_can_be_asked_and_a_text_put_in_its_place() {
    renders("{% if port is defined %}p{{ port }}{% else %}none{% endif %}", "none");
    renders("{% if user is defined and user != '' %}u{% endif %}", "u");
    renders("{% if fields['tls.key'] is undefined %}no key{% endif %}", "no key");
    renders("{{ fields.port is not defined }}", "True");
    renders("{{ port|default('5432') }}{{ fields.port|default('') }}{{ user|default('x')|length }}", "543215");
    renders("{{ ''|default('empty', true) }}", "empty");
    // What an author leaves out is not what is missing.
    renders("{{ 'a' if user == 'x' }}", "");
    // An empty text is put in its place by whoever writes one.
    assert_eq!(fails("{{ port|default }}"), "files[0], line 1: missing argument");
    assert!(fails("{{ port|default(prt) }}").contains("is not defined"));
}

#[test]
fn a_test_that_would_answer_for_what_is_missing_is_not_there() {
    for test in [
        "none",
        "string",
        "eq('x')",
        "ne('x')",
        "in(['x'])",
        "true",
        "false",
        "number",
        "mapping",
        "lower",
        "sameas(1)",
    ] {
        let words = fails(&format!("{{% if passwrd is {test} %}}{{% endif %}}"));
        assert!(words.contains("unknown test"), "{test}: {words}");
    }
}

#[test]
fn what_is_missing_is_found_in_what_holds_it() {
    for text in [
        "{{ {'user': user, 'password': passwrd}|tojson }}",
        "{{ [user, [passwrd]]|tojson(indent=2) }}",
        "{{ [passwrd] }}",
        "{{ dict(a=fields.passwrd) }}",
        "{{ [fields]|map(attribute='passwrd')|list }}",
        "{{ [user, passwrd]|last }}",
        "{% for name in [user, passwrd] %}{{ name }}{% endfor %}",
        "{% set it = passwrd %}{{ it }}",
    ] {
        assert!(fails(text).contains("is not defined"), "{text}");
    }
    renders("{{ {'user': field, 'n': [version]}|tojson }}", r#"{"n":[7],"user":"password"}"#);
    renders("{{ fields|tojson|length > 10 }}", "True");
}
