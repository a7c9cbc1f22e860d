//! Circles in who needs whom: nobody may wait for ever for somebody who waits for them.

use std::collections::{BTreeMap, BTreeSet};

use iaso_policy::id::ServiceId;

use super::{By, Wanted};

type Graph = BTreeMap<ServiceId, Vec<Wanted>>;

/// Lets go of the needs that lead in circles: what labels say first, then, if need be, what the engine says. Who was in a
/// circle, each in order.
pub(super) fn break_up(graph: &mut Graph) -> BTreeSet<Vec<ServiceId>> {
    let mut told = BTreeSet::new();
    // The file was found to have none.
    if graph.values().flatten().all(|wanted| wanted.by == By::File) {
        return told;
    }
    for by in [By::Label, By::Engine] {
        let circles = circles(graph);
        let circle_of: BTreeMap<ServiceId, usize> =
            circles.iter().zip(0..).flat_map(|(circle, number)| circle.iter().map(move |id| (*id, number))).collect();
        for (id, wanted) in graph.iter_mut() {
            let Some(circle) = circle_of.get(id) else { continue };
            let stays_out = |on: &ServiceId| circle_of.get(on) != Some(circle);
            // Where several would do, those outside the circle still do.
            wanted.retain_mut(|wanted| {
                let led_in = wanted.by == by && !wanted.need.on.iter().all(stays_out);
                if led_in {
                    wanted.need.on.retain(stays_out);
                }
                !led_in || !wanted.need.on.is_empty()
            });
        }
        told.extend(circles);
    }
    told
}

/// Those who need each other, directly or through others: strongly connected components, by Kosaraju's two walks. No
/// recursion: labels may make a chain of any length.
fn circles(graph: &Graph) -> Vec<Vec<ServiceId>> {
    let needs = |id: ServiceId| graph.get(&id).into_iter().flatten().flat_map(|wanted| wanted.need.on.iter().copied());
    let mut needed_by: BTreeMap<ServiceId, Vec<ServiceId>> = BTreeMap::new();
    for (id, on) in graph.keys().flat_map(|id| needs(*id).map(move |on| (*id, on))) {
        needed_by.entry(on).or_default().push(id);
    }
    let (mut seen, mut left) = (BTreeSet::new(), Vec::new());
    for root in graph.keys().copied() {
        // Each is left once all that it needs have been left.
        let mut way = vec![(root, false)];
        while let Some((id, is_left)) = way.pop() {
            if is_left {
                left.push(id);
            } else if seen.insert(id) {
                way.push((id, true));
                way.extend(needs(id).filter(|on| !seen.contains(on)).map(|on| (on, false)));
            }
        }
    }
    let (mut taken, mut found) = (BTreeSet::new(), Vec::new());
    for root in left.into_iter().rev() {
        let (mut circle, mut next) = (Vec::new(), vec![root]);
        while let Some(id) = next.pop() {
            if taken.insert(id) {
                circle.push(id);
                next.extend(needed_by.get(&id).into_iter().flatten().copied());
            }
        }
        if circle.len() > 1 || circle.iter().any(|id| needs(*id).any(|on| on == *id)) {
            circle.sort_unstable();
            found.push(circle);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use iaso_policy::spec::{Condition, Need, Restarts};
    use proptest::prelude::*;

    use super::*;

    fn graph(edges: &[(u32, u32, By)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to, by) in edges {
            let on = vec![ServiceId(*to)];
            let need = Need { on, unwatched: None, until: Condition::Started, restarts: Restarts::Never };
            graph.entry(ServiceId(*from)).or_default().push(Wanted { by: *by, need });
        }
        graph
    }

    fn edges(graph: &Graph) -> Vec<(u32, u32)> {
        let edges = graph.iter().flat_map(|(id, wanted)| wanted.iter().map(|wanted| (id.0, wanted.need.on[0].0)));
        edges.collect()
    }

    fn after(edges_before: &[(u32, u32, By)]) -> (Vec<(u32, u32)>, Vec<Vec<u32>>) {
        let mut graph = graph(edges_before);
        let circles = break_up(&mut graph);
        (edges(&graph), circles.into_iter().map(|circle| circle.into_iter().map(|id| id.0).collect()).collect())
    }

    #[test]
    fn what_labels_say_is_let_go_of_and_the_rest_stays() {
        use By::{Engine, File, Label};
        let none = Vec::<Vec<u32>>::new();
        assert_eq!(after(&[(1, 0, File), (2, 1, Label), (2, 0, Label)]), (vec![(1, 0), (2, 1), (2, 0)], none));
        assert_eq!(after(&[(0, 0, Label), (1, 0, Label)]), (vec![(1, 0)], vec![vec![0]]), "itself");
        let three = [(0, 1, Label), (1, 2, Label), (2, 0, Label), (3, 0, Label), (2, 4, Label)];
        assert_eq!(after(&three), (vec![(2, 4), (3, 0)], vec![vec![0, 1, 2]]));
        assert_eq!(after(&[(0, 1, File), (1, 0, Label)]), (vec![(0, 1)], vec![vec![0, 1]]));
        assert_eq!(after(&[(0, 1, Engine), (1, 0, Label)]), (vec![(0, 1)], vec![vec![0, 1]]));
        assert_eq!(after(&[(0, 1, File), (1, 0, Engine)]), (vec![(0, 1)], vec![vec![0, 1]]));
        let two = [(0, 1, Label), (1, 0, Label), (2, 3, Label), (3, 2, Label), (0, 2, Label)];
        assert_eq!(after(&two), (vec![(0, 2)], vec![vec![0, 1], vec![2, 3]]));
    }

    #[test]
    fn a_chain_of_any_length_is_walked() {
        let mut chain: Vec<_> = (0..50_000).map(|n| (n, n + 1, By::Label)).collect();
        assert_eq!(after(&chain).1, Vec::<Vec<u32>>::new());
        chain.push((50_000, 0, By::Label));
        assert_eq!((after(&chain).0, after(&chain).1[0].len()), (Vec::new(), 50_001));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever labels say, nobody needs itself through others, and what leads in no circle stays.
        #[test]
        fn no_circle_is_left_and_nothing_else_is_lost(pairs in prop::collection::vec((0..8_u32, 0..8_u32), 0..24)) {
            let all: Vec<_> = pairs.iter().map(|(from, to)| (*from, *to, By::Label)).collect();
            let reaches = |edges: &[(u32, u32)], from: u32, to: u32| {
                let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
                while let Some(at) = next.pop() {
                    let further = edges.iter().filter(|(from, _)| *from == at).map(|(_, to)| *to);
                    next.extend(further.filter(|to| seen.insert(*to)));
                }
                seen.contains(&to)
            };
            let (mut kept, _) = after(&all);
            for node in 0..8 {
                prop_assert!(!reaches(&kept, node, node), "{node} in {kept:?}");
            }
            let mut expected: Vec<_> = pairs.iter().filter(|(from, to)| !reaches(&pairs, *to, *from) && from != to).copied().collect();
            kept.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(kept, expected);
        }
    }
}
