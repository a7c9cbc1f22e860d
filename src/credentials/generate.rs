//! New values, from the operating system's own randomness. Each draw is as likely as any other of its kind.
//!
//! `words.txt` is the long word list that the Electronic Frontier Foundation published in 2016 (<https://www.eff.org/dice>),
//! under the Creative Commons Attribution 3.0 licence; the numbers of the dice are left out.

use secrecy::zeroize::Zeroizing;

use crate::config::secret::Secret;
use crate::config::validated::Generator;
use crate::system::clock::random_u64;

/// One word a line.
const WORDS: &str = include_str!("generate/words.txt");

/// A new value. What a generator asks for has been validated: an alphabet that is not empty, and no more characters that must
/// come than there is room for.
///
/// # Panics
/// When the operating system has no randomness.
pub fn generate(generator: &Generator) -> Secret {
    match generator {
        Generator::Characters { length, alphabet, at_least } => characters(*length, alphabet, at_least),
        Generator::Passphrase { words, separator } => passphrase(*words, separator),
        Generator::Uuid => uuid(),
    }
}

/// First what must come, then the rest from the whole alphabet, then all of it in a random order.
fn characters(length: usize, alphabet: &str, at_least: &[(String, usize)]) -> Secret {
    let mut drawn = Zeroizing::new(Vec::with_capacity(length));
    for (class, least) in at_least {
        draw(class, *least, &mut drawn);
    }
    let rest = length.saturating_sub(drawn.len());
    draw(alphabet, rest, &mut drawn);
    for at in (1..drawn.len()).rev() {
        drawn.swap(at, below(at + 1));
    }
    Secret::new(drawn.iter().collect::<String>())
}

fn draw(from: &str, count: usize, drawn: &mut Vec<char>) {
    let from: Vec<char> = from.chars().collect();
    drawn.extend((0..count).map(|_| from[below(from.len())]));
}

fn passphrase(words: usize, separator: &str) -> Secret {
    let list: Vec<&str> = WORDS.lines().collect();
    let drawn: Vec<&str> = (0..words).map(|_| list[below(list.len())]).collect();
    Secret::new(drawn.join(separator))
}

/// Version 4 of RFC 9562: random but for the six bits that say so.
fn uuid() -> Secret {
    let bits = u128::from(random_u64()) << 64 | u128::from(random_u64());
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let digits = format!("{bits:032x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Secret::new(parts.join("-"))
}

/// A number below `bound`, each as likely: what lies beyond the last whole multiple of it is drawn again.
fn below(bound: usize) -> usize {
    let bound = bound as u64;
    let beyond = (u64::MAX % bound + 1) % bound;
    loop {
        let drawn = random_u64();
        if drawn <= u64::MAX - beyond {
            #[expect(clippy::cast_possible_truncation, reason = "less than a usize")]
            return (drawn % bound) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    fn text(generator: &Generator) -> String {
        generate(generator).expose().to_owned()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn characters_have_their_length_their_alphabet_and_what_must_come(
            length in 8..200_usize, digits in 0..4_usize, signs in 0..4_usize,
        ) {
            let alphabet = format!("{LETTERS}ß-_");
            let at_least = vec![("0123456789".to_owned(), digits), ("ß-".to_owned(), signs)];
            let made = text(&Generator::Characters { length, alphabet: alphabet.clone(), at_least });
            prop_assert_eq!(made.chars().count(), length);
            prop_assert!(made.chars().all(|c| alphabet.contains(c)));
            prop_assert!(made.chars().filter(char::is_ascii_digit).count() >= digits);
            prop_assert!(made.chars().filter(|c| "ß-".contains(*c)).count() >= signs);
        }

        #[test]
        fn passphrases_have_their_words(words in 4..64_usize) {
            let known: BTreeSet<&str> = WORDS.lines().collect();
            let made = text(&Generator::Passphrase { words, separator: "_".to_owned() });
            prop_assert_eq!(made.split('_').count(), words);
            prop_assert!(made.split('_').all(|word| known.contains(word)));
        }

        #[test]
        fn uuids_say_that_they_are_random(_n in 0..1_u8) {
            let made = text(&Generator::Uuid);
            let lengths: Vec<usize> = made.split('-').map(str::len).collect();
            prop_assert_eq!(lengths, [8, 4, 4, 4, 12]);
            prop_assert_eq!(made.as_bytes()[14], b'4');
            prop_assert!(b"89ab".contains(&made.as_bytes()[19]));
            prop_assert!(made.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        }

        #[test]
        fn a_number_stays_below_its_bound(bound in 1..10_000_usize) {
            prop_assert!((0..50).all(|_| below(bound) < bound));
        }
    }

    /// How often each was drawn lies within a tenth of what is expected: thirty standard deviations of 10,000 draws each.
    #[track_caller]
    fn evenly<T: Ord + std::fmt::Debug>(drawn: impl Iterator<Item = T>, kinds: usize) {
        let mut counts = BTreeMap::new();
        drawn.for_each(|one| *counts.entry(one).or_insert(0_usize) += 1);
        assert_eq!(counts.len(), kinds);
        let expected = counts.values().sum::<usize>() / kinds;
        for (one, count) in counts {
            assert!(count.abs_diff(expected) < expected / 10, "{one:?} came {count} times; {expected} were expected");
        }
    }

    #[test]
    fn every_character_is_as_likely_and_so_is_every_place_of_one_that_must_come() {
        let plain = Generator::Characters { length: 4000, alphabet: "abcdefghijklm".to_owned(), at_least: Vec::new() };
        let all: String = (0..33).map(|_| text(&plain)).collect();
        evenly(all.chars(), 13);

        let one = ("#".to_owned(), 1);
        let marked = Generator::Characters { length: 8, alphabet: "ab".to_owned(), at_least: vec![one] };
        evenly((0..80_000).map(|_| text(&marked).find('#')), 8);
    }

    #[test]
    fn a_bound_that_does_not_divide_the_range_is_drawn_evenly() {
        // With a plain remainder the lower third would come twice as often as the rest.
        let bound = usize::try_from(u64::MAX / 4 * 3).unwrap();
        evenly((0..30_000).map(|_| below(bound) / (bound / 3 + 1)), 3);
    }

    #[test]
    fn the_word_list_is_whole() {
        let words: BTreeSet<&str> = WORDS.lines().collect();
        assert_eq!((words.len(), WORDS.lines().count()), (7776, 7776));
        assert!(words.iter().all(|word| word.len() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }
}
