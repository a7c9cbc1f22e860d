//! Tells those who put values into texts which of them are in use, and which take their place.

use super::Desk;
use super::holding::Value;

impl Desk {
    /// Writes down the values that are in use now and were not before.
    pub(super) fn tell_values(&mut self) {
        for (id, holding) in &self.holdings {
            let on_its_way = holding.publishing.as_ref().map(|publishing| &publishing.value);
            let left = holding.left.as_ref().map(|left| &left.value);
            // A rotation puts its value to use as soon as it is rendered; the services come to it one after the other.
            let is_rotated = || self.rotations.in_use(&holding.spec.name).is_some();
            let before = holding.before.as_ref().filter(|_| is_rotated());
            // Who only observes puts nothing to use, and checks all the same: with what would be in use.
            let fresh = holding.fresh.as_ref().filter(|_| self.ports.observe);
            let newest = fresh.into_iter().chain(&holding.current).max_by_key(|value| value.entry.fetched);
            let other = on_its_way.or(left).or(before);
            let (in_use, other) = newest.map_or((other, None), |newest| (Some(newest), other));
            let digest = |value: Option<&Value>| value.map(|value| value.digest);
            let news = (digest(in_use), digest(other));
            if self.told_values.insert(*id, news) != Some(news) {
                let fields = |value: Option<&Value>| value.map(|value| value.entry.fields.clone());
                self.ports.in_use.put(&holding.spec.name, fields(in_use), fields(other));
            }
        }
    }
}
