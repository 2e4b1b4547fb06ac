//! Cases, and what the rules say of them.

use super::*;

fn case(change: Change, double_sale: DoubleSale) -> Case {
    Case {
        work: Duration::from_millis(5),
        worst: Duration::from_secs(1),
        ttl: Duration::from_secs(5),
        buyers: 8,
        double_sale,
        processes: Spread::Many,
        change,
        servers: Vec::new(),
    }
}

/// The names of those that will do, in order: without a lock, and with one.
fn admissible(case: &Case) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut instead, mut locks) = (Vec::new(), Vec::new());
    for (id, ruling) in case.rulings() {
        match ruling {
            Ruling::Instead(_) => instead.push(id.row().name),
            Ruling::Lock(_) => locks.push(id.row().name),
            Ruling::Out(_) => {}
        }
    }
    (instead, locks)
}

/// Why a strategy will not do.
#[track_caller]
fn out(case: &Case, name: &str) -> String {
    let ruling = case.rulings().into_iter().find(|(id, _)| id.row().name == name).unwrap().1;
    match ruling {
        Ruling::Out(why) => why,
        ruling => panic!("{name} will do: {ruling:?}"),
    }
}

#[test]
fn a_counter_needs_one_step_and_no_lock() {
    for double_sale in [DoubleSale::Annoying, DoubleSale::Costly, DoubleSale::Forbidden] {
        let case = case(Change::Counter, double_sale);
        assert!(case.first()[0].contains("needs no lock"));
        assert_eq!(admissible(&case).0[..2], ["atomic", "postgres-atomic"]);
        assert!(case.impossible().is_none());
    }
}

#[test]
fn a_row_is_guarded_where_it_is() {
    let case = case(Change::Row, DoubleSale::Forbidden);
    let (instead, locks) = admissible(&case);
    assert!(instead[0].ends_with("-atomic"), "{instead:?}");
    for name in instead {
        let row = name.parse::<StrategyId>().unwrap().row();
        assert!(row.family == Family::LockFree && row.store != Store::Redis, "{name}");
    }
    assert_eq!(locks, ["layered", "fenced", "etcd", "zookeeper"]);
    assert!(out(&case, "atomic").contains("the row is in a database"));
    for lock in ["safe", "watchdog", "redlock", "postgres-advisory", "mysql-lock"] {
        assert!(out(&case, lock).contains("needs fencing or layers"), "{lock}");
    }
}

#[test]
fn no_lock_guarantees_what_is_outside() {
    let case = case(Change::Outside, DoubleSale::Forbidden);
    assert_eq!(admissible(&case), (vec![], vec![]));
    assert!(case.impossible().unwrap().starts_with("No lock can guarantee it"));
    assert!(out(&case, "etcd").contains("nobody refuses the late one"));
    let costly = Case { double_sale: DoubleSale::Costly, ..case };
    let nearest = ["watchdog", "etcd", "zookeeper", "postgres-advisory", "mysql-lock"];
    assert_eq!(admissible(&costly), (vec![], nearest.to_vec()));
    assert!(costly.impossible().is_some(), "as near as a lock comes is no guarantee");
}

#[test]
fn a_mutex_is_enough_for_one_process_and_for_no_more() {
    let case = Case { processes: Spread::One, ..case(Change::Outside, DoubleSale::Forbidden) };
    assert_eq!(admissible(&case), (vec!["mutex"], vec![]));
    assert!(case.impossible().is_none());
    assert!(case.first().iter().any(|line| line.contains("`mutex`")));
    let many = Case { processes: Spread::Many, ..case };
    assert!(out(&many, "mutex").contains("other processes"));
}

#[test]
fn a_lease_that_is_not_renewed_must_outlast_the_work() {
    let short = case(Change::Outside, DoubleSale::Annoying);
    assert!(["safe", "redlock", "fenced"].iter().all(|it| admissible(&short).1.contains(it)));
    let long = Case { worst: short.ttl, ..short };
    for lock in ["safe", "redlock", "fenced"] {
        assert!(out(&long, lock).contains("may take 5s"), "{lock}");
    }
    assert!(admissible(&long).1.contains(&"watchdog"));
    let counter = Case { change: Change::Counter, ..long };
    assert!(admissible(&counter).1.contains(&"fenced"), "the store refuses it");
}

#[test]
fn only_what_they_run_will_do() {
    let servers = vec![Backend::Postgres];
    let case = Case { servers, ..case(Change::Row, DoubleSale::Costly) };
    let (instead, locks) = admissible(&case);
    assert_eq!(instead, ["postgres-atomic", "postgres-row", "postgres-optimistic"]);
    assert!(locks.is_empty());
    assert_eq!(out(&case, "layered"), "you do not run redis");
    assert_eq!(out(&case, "mysql-row"), "you do not run mysql");
    let etcd = Case { servers: vec![Backend::Etcd], change: Change::Outside, ..case };
    assert_eq!(admissible(&etcd).1, ["etcd"], "its lock guards whatever one wants");
}

#[test]
fn what_oversells_or_sticks_will_never_do() {
    for change in [Change::Counter, Change::Row, Change::Outside] {
        for double_sale in [DoubleSale::Annoying, DoubleSale::Costly, DoubleSale::Forbidden] {
            let case = Case { processes: Spread::One, ..case(change, double_sale) };
            assert!(out(&case, "none").contains("oversells"));
            assert!(out(&case, "naive").contains("stuck for ever"));
        }
    }
}
