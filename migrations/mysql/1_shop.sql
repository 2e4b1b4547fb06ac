-- Texts are ASCII and case matters. A collation that ends in _bin would do, but clients take such columns for
-- bytes; this one is in MySQL and in MariaDB.

-- What is on sale. A sale changes its row and adds its order in one transaction.
CREATE TABLE locklab_products (
    product    VARCHAR(128) PRIMARY KEY,
    -- Changes with every reset, and is empty during one.
    generation VARCHAR(128) NOT NULL,
    initial    BIGINT NOT NULL,
    -- The racy number. What is written may be stale, but never less than nothing.
    stock      BIGINT NOT NULL,
    -- Grows with every write.
    version    BIGINT NOT NULL DEFAULT 0,
    -- Numbers the sales: changed relative to itself in the same statement as the stock, under the row's lock.
    sold       BIGINT NOT NULL DEFAULT 0,
    -- The newest fencing token seen.
    bar        BIGINT,
    CONSTRAINT locklab_stock_not_negative CHECK (stock >= 0)
) CHARACTER SET latin1 COLLATE latin1_general_cs;

-- The ledger: what was really sold.
CREATE TABLE locklab_orders (
    order_id      VARCHAR(128) NOT NULL,
    product       VARCHAR(128) NOT NULL,
    quantity      BIGINT NOT NULL,
    -- Units sold since the reset, this order included: no two orders of a product have the same.
    sold          BIGINT NOT NULL,
    stock_after   BIGINT NOT NULL,
    fencing_token BIGINT,
    sold_at       DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    PRIMARY KEY (order_id, product)
) CHARACTER SET latin1 COLLATE latin1_general_cs;
CREATE UNIQUE INDEX locklab_orders_by_product ON locklab_orders (product, sold);

-- The first answer to each order with an idempotency key.
CREATE TABLE locklab_answers (
    generation VARCHAR(128) NOT NULL,
    name       VARCHAR(128) NOT NULL,
    -- Who carries the order out.
    claim      VARCHAR(128) NOT NULL,
    -- None while it is carried out.
    answer     LONGTEXT,
    -- Milliseconds since 1970, by the database's clock.
    until_ms   BIGINT NOT NULL,
    PRIMARY KEY (generation, name)
) CHARACTER SET latin1 COLLATE latin1_general_cs;
CREATE INDEX locklab_answers_by_end ON locklab_answers (until_ms);

-- What was recorded of purchases: batches of records, and how many there were of each product.
CREATE TABLE locklab_histories (
    product    VARCHAR(128) PRIMARY KEY,
    generation VARCHAR(128) NOT NULL,
    recorded   BIGINT NOT NULL,
    added_ms   BIGINT NOT NULL
) CHARACTER SET latin1 COLLATE latin1_general_cs;
CREATE TABLE locklab_records (
    product    VARCHAR(128) NOT NULL,
    generation VARCHAR(128) NOT NULL,
    -- The number of the last record of the batch.
    place      BIGINT NOT NULL,
    batch      LONGTEXT NOT NULL,
    PRIMARY KEY (product, generation, place)
) CHARACTER SET latin1 COLLATE latin1_general_cs;
