//! Who stands before whom among the children of a lock, whichever client has made them.

/// What stands before the number of a contender's name: Curator's, and kazoo's of a lock and of the
/// readers of one.
const MARKS: [&str; 3] = ["-lock-", "__lock__", "__rlock__"];
/// Digits of a number, unless it is one of the longest negative ones.
const DIGITS: usize = 10;

/// The number that ZooKeeper has appended to a name. Nothing before it counts: names of different
/// clients begin differently, and that of a GUID says nothing. `None` for what is no contender.
pub fn sequence(name: &str) -> Option<i32> {
    let marked = MARKS.iter().find_map(|mark| name.rsplit_once(mark));
    match marked {
        Some((_, number)) if number.len() >= DIGITS => number.parse().ok(),
        // Somebody else's name. A minus could be part of it, and nobody has made that many nodes.
        _ => name.get(name.len().checked_sub(DIGITS)?..)?.parse().ok(),
    }
}

/// How far a contender stands before another; not positive, if it does not. After the largest number,
/// ZooKeeper goes on with the smallest, and never have that many contended at once: the distance is
/// right across that border, where an order of the numbers is not.
fn lead(of: i32, over: i32) -> i32 {
    over.wrapping_sub(of)
}

/// Whoever stands right before a contender, `None` if it is the first.
pub fn predecessor<'a>(names: &'a [String], name: &str) -> Option<&'a str> {
    let own = sequence(name)?;
    names
        .iter()
        .filter_map(|other| Some((lead(sequence(other)?, own), other.as_str())))
        .filter(|(lead, _)| *lead > 0)
        .min()
        .map(|(_, name)| name)
}

/// Whether anybody contends.
pub fn any(names: &[String]) -> bool {
    names.iter().any(|name| sequence(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "6a3bd0cf-1d6b-4a55-8f0f-3a0f9bb1c9a1";

    fn curator(number: &str) -> String {
        format!("_c_{GUID}-lock-{number}")
    }

    #[test]
    fn numbers_of_every_client() {
        for (name, number) in [
            (curator("0000000007"), Some(7)),
            (curator("2147483647"), Some(i32::MAX)),
            (curator("-2147483648"), Some(i32::MIN)),
            (curator("-000000005"), Some(-5)),
            ("lock-0000000003".to_owned(), Some(3)),
            ("82a1ffe0__lock__0000000012".to_owned(), Some(12)),
            ("82a1ffe0__rlock__0000000013".to_owned(), Some(13)),
            ("x-72057594-0000000014".to_owned(), Some(14)),
            (curator(""), None),
            ("leases".to_owned(), None),
            ("a-name-without-a-number".to_owned(), None),
            ("zookeeper-ü000000001".to_owned(), None),
        ] {
            assert_eq!(sequence(&name), number, "{name}");
        }
    }

    #[test]
    fn only_the_number_decides_who_is_next() {
        let names: Vec<String> = ["f__lock__0000000001", "_c_z-lock-0000000009", "leases"]
            .into_iter()
            .map(str::to_owned)
            .chain([curator("0000000004"), "a__lock__0000000010".to_owned()])
            .collect();
        assert_eq!(predecessor(&names, &names[0]), None);
        assert_eq!(predecessor(&names, &names[3]), Some(names[0].as_str()));
        assert_eq!(predecessor(&names, &names[1]), Some(names[3].as_str()));
        assert_eq!(predecessor(&names, &names[4]), Some(names[1].as_str()));
        assert!(any(&names) && !any(&names[2..3]) && !any(&[]));
    }

    #[test]
    fn the_number_after_the_largest_is_the_smallest() {
        let names = [curator("-2147483648"), curator("2147483646"), curator("2147483647")].to_vec();
        assert_eq!(predecessor(&names, &names[1]), None);
        assert_eq!(predecessor(&names, &names[2]), Some(names[1].as_str()));
        assert_eq!(predecessor(&names, &names[0]), Some(names[2].as_str()));
    }
}
