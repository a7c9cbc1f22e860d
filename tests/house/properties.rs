//! The table of what holds of credentials: each property names tests, and these exist.

/// How many there are.
const PROPERTIES: usize = 13;

/// Properties that are missing in the table, or without a test, and tests in it that are in none of the sources.
pub(crate) fn violations(table: &str, sources: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for number in 1..=PROPERTIES {
        let Some(row) = table.lines().find(|line| line.starts_with(&format!("//! | {number} |"))) else {
            found.push(format!("property {number} is not in the table"));
            continue;
        };
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            found.push(format!("property {number} has no test"));
        }
        let exists = |test: &str| sources.iter().any(|text| text.contains(&format!("fn {test}(")));
        found
            .extend(named.iter().filter(|test| !exists(test)).map(|test| format!("property {number}: no test {test}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::violations;

    #[test]
    fn a_property_without_a_test_and_a_test_that_is_gone_are_found() {
        let row = |number: usize| match number {
            3 => String::new(),
            4 => "//! | 4 | it holds | |".to_owned(),
            5 => "//! | 5 | it holds | `there`, `gone` |".to_owned(),
            number => format!("//! | {number} | it holds | `there` |"),
        };
        let table: Vec<String> = (1..=13).map(row).collect();
        let found = violations(&table.join("\n"), &["fn there() {}".to_owned()]);
        assert_eq!(found, ["property 3 is not in the table", "property 4 has no test", "property 5: no test gone"]);
    }
}
