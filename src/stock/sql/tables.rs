//! The tables in which databases hold products: files that are carried out once each, in their order, and
//! never changed.

use locklab_locks::wires::sql::{Dialect, Table};

const POSTGRES: &[Table] = &[Table {
    version: 1,
    name: "shop",
    sql: include_str!("../../../migrations/postgres/1_shop.sql"),
}];

const MYSQL: &[Table] = &[Table {
    version: 1,
    name: "shop",
    sql: include_str!("../../../migrations/mysql/1_shop.sql"),
}];

/// Those of one kind of database.
#[must_use]
pub fn of(dialect: Dialect) -> &'static [Table] {
    match dialect {
        Dialect::Postgres => POSTGRES,
        Dialect::MySql => MYSQL,
    }
}
