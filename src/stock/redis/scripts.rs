//! The scripts: each is one atomic step. Redis does not roll back, so what can fail or refuse comes
//! before what writes.

use std::sync::LazyLock;

use redis::Script;

/// KEYS: stock and ledger of each item; then, for an order with a key, where its answer is kept.
/// ARGV: generation, stock to write, quantity, fencing token or '' of each item; then the answer
/// and how long it is kept, in ms.
///
/// The write is blind on purpose: guarding it is the lock's task. Only the ledger is exact. Once
/// there is a bar, a write without a token is refused as well: it could be anybody's. Tokens are
/// compared as Lua's floats, which are exact up to 2⁵³.
pub static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local items = math.floor(#KEYS / 2)
        local kept = KEYS[2 * items + 1]
        if kept then
            local answer = redis.call('GET', kept)
            if answer and string.sub(answer, 1, 1) == '{' then return {'repeated', answer} end
        end
        for i = 1, items do
            local ledger, arg = KEYS[2 * i], 4 * i - 3
            local generation = redis.call('HGET', ledger, 'generation')
            if generation == '' or generation ~= ARGV[arg] then return {'reset'} end
            local bar, token = redis.call('HGET', ledger, 'bar'), ARGV[arg + 3]
            if bar and (token == '' or tonumber(token) < tonumber(bar)) then return {'fenced'} end
            local found = redis.call('GET', KEYS[2 * i - 1])
            if found and not tonumber(found) then
                return redis.error_reply('ERR the stock is no number')
            end
        end
        local reply = {'sold'}
        for i = 1, items do
            local ledger, arg = KEYS[2 * i], 4 * i - 3
            local stock, token = ARGV[arg + 1], ARGV[arg + 3]
            if token ~= '' then redis.call('HSET', ledger, 'bar', token) end
            local found = redis.call('GET', KEYS[2 * i - 1]) or '0'
            redis.call('SET', KEYS[2 * i - 1], stock)
            local sold = redis.call('HINCRBY', ledger, 'sold', ARGV[arg + 2])
            local initial = redis.call('HGET', ledger, 'initial')
            for _, value in ipairs({ARGV[arg], found, stock, sold, initial}) do
                table.insert(reply, value)
            end
        end
        if kept then
            redis.call('SET', kept, ARGV[4 * items + 1], 'PX', ARGV[4 * items + 2])
        end
        return reply
        ",
    )
});

/// KEYS: ledger. ARGV: fencing token. 1: the bar is there; 0: it was higher already.
pub static RAISE_BAR: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local bar = tonumber(redis.call('HGET', KEYS[1], 'bar') or 0)
        if tonumber(ARGV[1]) < bar then return 0 end
        if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'bar', ARGV[1]) end
        return 1
        ",
    )
});

/// KEYS: as [`WRITE`]. ARGV: quantity of each item; then the answer but for its lines, how long it
/// is kept, in ms, the item that it belongs to, from 1, and the generation which that must be at.
pub static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local items = math.floor(#KEYS / 2)
        local kept = KEYS[2 * items + 1]
        if kept then
            local answer = redis.call('GET', kept)
            if answer and string.sub(answer, 1, 1) == '{' then return {'repeated', answer} end
            local ledger = KEYS[2 * tonumber(ARGV[items + 3])]
            local generation = redis.call('HGET', ledger, 'generation')
            if generation ~= ARGV[items + 4] then return {'reset'} end
        end
        local reply = {'sold'}
        for i = 1, items do
            local found = redis.call('GET', KEYS[2 * i - 1])
            local generation = redis.call('HGET', KEYS[2 * i], 'generation')
            if not found or not generation then return {'absent', i} end
            if generation == '' then return {'reset'} end
            if not string.match(found, '^-?%d+$') then
                return redis.error_reply('ERR the stock is no number')
            end
            if tonumber(found) < tonumber(ARGV[i]) then return {'sold_out', i, found} end
        end
        local lines = {}
        for i = 1, items do
            local ledger = KEYS[2 * i]
            local found = redis.call('GET', KEYS[2 * i - 1])
            local stock = redis.call('DECRBY', KEYS[2 * i - 1], ARGV[i])
            local sold = redis.call('HINCRBY', ledger, 'sold', ARGV[i])
            local generation = redis.call('HGET', ledger, 'generation')
            local initial = redis.call('HGET', ledger, 'initial')
            for _, value in ipairs({generation, found, stock, sold, initial}) do
                table.insert(reply, value)
            end
            lines[i] = {stock_before = tonumber(found), stock_after = stock}
        end
        if kept then
            local answer = cjson.decode(ARGV[items + 1])
            answer.lines = lines
            redis.call('SET', kept, cjson.encode(answer), 'PX', ARGV[items + 2])
        end
        return reply
        ",
    )
});

/// KEYS: ledger. An empty generation is nobody's.
pub static CLOSE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'generation', '') end
        ",
    )
});

/// KEYS: stock, ledger, history, list of histories, number of records. ARGV: stock, generation,
/// 'always' or 'if absent'.
pub static RESET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if ARGV[3] == 'if absent' and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
        redis.call('SET', KEYS[1], ARGV[1])
        redis.call('DEL', KEYS[2], KEYS[3], KEYS[5])
        redis.call('ZREM', KEYS[4], KEYS[3])
        redis.call('HSET', KEYS[2], 'initial', ARGV[1], 'sold', 0, 'generation', ARGV[2])
        return 1
        ",
    )
});

/// KEYS: ledger, history, list of histories, number of records. ARGV: generation or '' for any, the
/// most records of a product, the most products, how long a history is left alone, in s; then
/// records. The oldest records go first, and so does the history that was added to the longest time
/// ago. While all of them are in use, there is none for another product: to take them from each
/// other would leave nobody anything.
pub const RECORD_CODE: &str = r"
        local generation = redis.call('HGET', KEYS[1], 'generation')
        if not generation or (ARGV[1] ~= '' and ARGV[1] ~= generation) then return 0 end
        redis.call('INCRBY', KEYS[4], #ARGV - 4)
        local now = tonumber(redis.call('TIME')[1])
        local used = tonumber(redis.call('ZSCORE', KEYS[3], KEYS[2]) or -1)
        if used < 0 and redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[3]) then
            local oldest = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
            if now - tonumber(oldest[2]) < tonumber(ARGV[4]) then return 0 end
            redis.call('ZREM', KEYS[3], oldest[1])
            redis.call('DEL', oldest[1])
        end
        if used ~= now then redis.call('ZADD', KEYS[3], now, KEYS[2]) end
        local length = redis.call('RPUSH', KEYS[2], unpack(ARGV, 5))
        if length > tonumber(ARGV[2]) then redis.call('LTRIM', KEYS[2], -ARGV[2], -1) end
        return 1
        ";

/// KEYS: where the answer is kept. ARGV: the mark of who carries the order out, how long for, in
/// ms. '' if that is the caller now, else what is there.
pub static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local there = redis.call('GET', KEYS[1])
        if there then return there end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return ''
        ",
    )
});

/// KEYS: where the answer is kept. ARGV: the answer, how long it is kept, in ms. What stands.
pub static CONCLUDE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local there = redis.call('GET', KEYS[1])
        if there and string.sub(there, 1, 1) == '{' then return there end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return ARGV[1]
        ",
    )
});

/// KEYS: where the answer is kept. ARGV: the mark of who gives up.
pub static ABANDON: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
        return 0
        ",
    )
});
