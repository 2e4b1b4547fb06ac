//! A small checker of the kind that an export is meant for.

use std::collections::HashSet;

use edn_format::Value;

use super::Line;

/// What an operation does to a state: `None` if it cannot have happened in it.
pub(super) type Model = fn(i64, &Line) -> Option<Option<i64>>;

/// 0: free, 1: held.
pub(super) fn mutex(held: i64, op: &Line) -> Option<Option<i64>> {
    match op.f.as_str() {
        "acquire" => Some((held == 0).then_some(1)),
        "release" => Some((held == 1).then_some(0)),
        _ => None,
    }
}

pub(super) fn register(stock: i64, op: &Line) -> Option<Option<i64>> {
    let Value::Integer(value) = op.value else { return None };
    match op.f.as_str() {
        "read" => Some((stock == value).then_some(stock)),
        "write" => Some(Some(value)),
        _ => None,
    }
}

pub(super) fn inventory(stock: i64, op: &Line) -> Option<Option<i64>> {
    let Value::Vector(value) = &op.value else { return None };
    let Value::Integer(quantity) = value[0] else { return None };
    let left = stock - quantity;
    let told = value[1] == Value::Integer(left) || value[1] == Value::Nil;
    Some((left >= 0 && told).then_some(left))
}

/// Wing and Gong's search for an order in which every operation that succeeded happened, between
/// its invocation and its completion; of the unknown ones, any.
pub(super) fn is_linearizable(lines: &[Line], initial: i64, model: Model) -> bool {
    let mut ops: Vec<(i64, i64, Line)> = Vec::new();
    for line in lines.iter().filter(|line| line.kind == "invoke") {
        let same = |it: &&Line| it.process == line.process && it.index > line.index;
        let ended = lines.iter().find(same).filter(|it| it.kind != "info");
        let op = ended.unwrap_or(line).clone();
        let known = model(initial, &op).is_some();
        if known && op.kind != "fail" {
            ops.push((line.index, ended.map_or(i64::MAX, |it| it.index), op));
        }
    }
    let (mut seen, mut open) = (HashSet::new(), vec![(0_u128, initial)]);
    while let Some((done, state)) = open.pop() {
        let left = || (0..ops.len()).filter(|at| done & (1 << at) == 0);
        let first_end = left().map(|at| ops[at].1).min().unwrap_or(i64::MAX);
        if first_end == i64::MAX {
            return true;
        }
        for at in left().filter(|&at| ops[at].0 < first_end).rev() {
            let next = model(state, &ops[at].2).flatten();
            let next = next.map(|next| (done | (1 << at), next));
            open.extend(next.filter(|next| seen.insert(*next)));
        }
    }
    false
}
