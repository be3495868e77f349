//! Random queries inside the subset, well-typed so that most have an answer.

/// A small seeded generator (splitmix64), so that a seed means the same for ever.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

const SELECTORS: &[&str] = &[
    "http_requests_total",
    "http_requests_total{code=~\"5..\"}",
    "http_requests_total{region=\"eu\"}",
    "http_requests_total{version!=\"v1\",code!~\"50.\"}",
    "http_requests_total{version=\"v2\",code=\"200\"}",
    "http_request_duration_seconds_bucket{version=\"v2\"}",
    "memory_bytes",
    "memory_bytes{pod=~\"a-.*\"}",
    "temperature",
    "temperature{zone!=\"b\"}",
    "flaky_total",
    "flaky_total{pod!=\"b-1\"}",
    "young_total",
    "build_info",
    "limit",
    "constant",
    "nothing",
    "{__name__=~\"same_.\"}",
    "{region=\"us\",code=\"500\"}",
];
const GAUGES: &[&str] = &[
    "memory_bytes",
    "http_requests_total{code=\"200\"}",
    "temperature{zone=\"c\"}",
];
const LABELS: &[&str] = &["region", "version", "code", "pod", "zone", "le", "commit", "absent"];
const WINDOWS: &[&str] = &["30s", "1m", "2m", "5m", "7m30s", "10m", "1m1s500ms"];
const OVER_TIME: &[&str] = &[
    "rate",
    "increase",
    "irate",
    "delta",
    "deriv",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "changes",
    "resets",
    "idelta",
];
const ELEMENTWISE: &[&str] = &["abs", "ceil", "floor", "exp", "ln", "sqrt", "sgn"];
const AGGREGATORS: &[&str] = &["sum", "avg", "min", "max", "count", "group"];
const NUMBERS: &[&str] = &[
    "0", "1", "-1", "2", "0.5", "100", "1e3", "0.001", "60", "NaN", "Inf", "-Inf", "0x10", "3600",
];
// `%` of a large number by a computed one shows the last bit as the whole answer; the table asks for it with exact ones.
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "^"];
// `==` and `!=` between computed numbers would test the last bit of a sum, whose order nobody promises.
const COMPARISONS: &[&str] = &[">", "<", ">=", "<="];

/// A random query and whether it is an instant vector or a scalar.
pub fn query(chance: &mut Chance) -> String {
    if chance.below(12) == 0 {
        scalar(chance, 3)
    } else {
        vector(chance, 3)
    }
}

fn offset(chance: &mut Chance) -> &'static str {
    match chance.below(8) {
        0 => " offset 1m",
        1 => " offset 7m",
        2 => " offset -30s",
        _ => "",
    }
}

fn labels(chance: &mut Chance) -> String {
    let count = chance.below(3);
    (0..count).map(|_| chance.pick(LABELS)).collect::<Vec<_>>().join(", ")
}

fn selector(chance: &mut Chance) -> String {
    format!("{}{}", chance.pick(SELECTORS), offset(chance))
}

fn windowed(chance: &mut Chance) -> String {
    let (selector, window) = (chance.pick(SELECTORS), chance.pick(WINDOWS));
    let range = format!("{selector}[{window}]{}", offset(chance));
    match chance.below(8) {
        0 => format!("predict_linear({range}, {})", scalar(chance, 0)),
        _ => format!("{}({range})", chance.pick(OVER_TIME)),
    }
}

fn vector(chance: &mut Chance, depth: u32) -> String {
    let kinds = if depth == 0 { 3 } else { 14 };
    match chance.below(kinds) {
        0 => selector(chance),
        1 | 2 => windowed(chance),
        3 | 4 => aggregation(chance, depth),
        5 | 6 => between_vectors(chance, depth),
        7 => with_scalar(chance, depth),
        8 => {
            let function = chance.pick(ELEMENTWISE);
            format!("{function}({})", vector(chance, depth - 1))
        }
        9 => match chance.below(3) {
            0 => format!("clamp_min({}, {})", vector(chance, depth - 1), scalar(chance, 0)),
            1 => format!("clamp_max({}, {})", vector(chance, depth - 1), scalar(chance, 0)),
            _ => format!(
                "clamp({}, {}, {})",
                vector(chance, depth - 1),
                scalar(chance, 0),
                scalar(chance, 0)
            ),
        },
        10 => histogram(chance),
        11 => match chance.below(3) {
            0 => format!("absent({})", vector(chance, depth - 1)),
            1 => format!("vector({})", scalar(chance, depth - 1)),
            _ => format!("-{}", vector(chance, depth - 1)),
        },
        12 => set(chance, depth),
        _ => format!("({})", vector(chance, depth - 1)),
    }
}

fn scalar(chance: &mut Chance, depth: u32) -> String {
    if depth == 0 {
        return chance.pick(NUMBERS).to_owned();
    }
    match chance.below(6) {
        0 => "time()".to_owned(),
        1 => format!("scalar({})", vector(chance, depth - 1)),
        2 => {
            let operator = chance.pick(ARITHMETIC);
            format!("{} {operator} {}", scalar(chance, depth - 1), scalar(chance, depth - 1))
        }
        3 => {
            let operator = chance.pick(COMPARISONS);
            format!(
                "({} {operator} bool {})",
                scalar(chance, depth - 1),
                scalar(chance, depth - 1)
            )
        }
        4 => format!("-{}", scalar(chance, depth - 1)),
        _ => chance.pick(NUMBERS).to_owned(),
    }
}

fn grouping(chance: &mut Chance) -> String {
    match chance.below(3) {
        0 => String::new(),
        1 => format!(" by ({})", labels(chance)),
        _ => format!(" without ({})", labels(chance)),
    }
}

fn aggregation(chance: &mut Chance, depth: u32) -> String {
    let grouping = grouping(chance);
    match chance.below(8) {
        0 => format!(
            "quantile{grouping} ({}, {})",
            chance.pick(&["0", "0.5", "0.9", "1", "1.5", "-1", "NaN"]),
            vector(chance, depth - 1)
        ),
        // Which of two equal elements stays is nobody's promise: only over values that differ.
        1 => {
            let (operator, count) = (
                chance.pick(&["topk", "bottomk"]),
                chance.pick(&["0", "1", "2", "3.7", "-2", "99"]),
            );
            format!("{operator}{grouping} ({count}, {})", chance.pick(GAUGES))
        }
        2 => {
            let operator = chance.pick(AGGREGATORS);
            format!("{operator} ({}){grouping}", vector(chance, depth - 1))
        }
        _ => {
            let operator = chance.pick(AGGREGATORS);
            format!("{operator}{grouping} ({})", vector(chance, depth - 1))
        }
    }
}

fn histogram(chance: &mut Chance) -> String {
    let q = chance.pick(&["0", "0.5", "0.9", "0.99", "1", "2", "-1", "NaN"]);
    let window = chance.pick(WINDOWS);
    let rate = format!("rate(http_request_duration_seconds_bucket[{window}]{})", offset(chance));
    match chance.below(4) {
        0 => format!("histogram_quantile({q}, {rate})"),
        1 => format!(
            "histogram_quantile({q}, {})",
            chance.pick(&["partial_bucket", "crooked_bucket"])
        ),
        2 => format!("histogram_quantile({q}, sum by (le) ({rate}))"),
        _ => format!("histogram_quantile({q}, sum by (le, version) ({rate}))"),
    }
}

fn matching(chance: &mut Chance) -> String {
    match chance.below(3) {
        0 => String::new(),
        1 => format!(" on({})", labels(chance)),
        _ => format!(" ignoring({})", labels(chance)),
    }
}

fn operator(chance: &mut Chance) -> String {
    match chance.below(4) {
        0 => chance.pick(COMPARISONS).to_owned(),
        1 => format!("{} bool", chance.pick(COMPARISONS)),
        _ => chance.pick(ARITHMETIC).to_owned(),
    }
}

fn between_vectors(chance: &mut Chance, depth: u32) -> String {
    let operator = operator(chance);
    let known = |chance: &mut Chance| match chance.below(5) {
        0 => "http_requests_total{code=\"500\"} O ignoring(code) http_requests_total{code=\"200\"}",
        1 => "http_requests_total O on(region) group_left limit",
        2 => "limit O on(region) group_right http_requests_total",
        3 => "http_requests_total O on(region, version) group_left(commit) build_info",
        _ => "build_info O on(region, version) group_right(commit, region) http_requests_total",
    };
    if chance.below(3) == 0 {
        return known(chance).replace('O', &operator);
    }
    let matching = matching(chance);
    let group = match chance.below(6) {
        0 if !matching.is_empty() => format!(" group_left({})", labels(chance)),
        1 if !matching.is_empty() => format!(" group_right({})", labels(chance)),
        _ => String::new(),
    };
    // A vector with itself always matches; with another one mostly fails, and has to fail alike.
    let left = vector(chance, depth - 1);
    let right = if chance.below(2) == 0 {
        left.clone()
    } else {
        vector(chance, depth - 1)
    };
    format!("({left}) {operator}{matching}{group} ({right})")
}

fn set(chance: &mut Chance, depth: u32) -> String {
    let (operator, matching) = (chance.pick(&["and", "or", "unless"]), matching(chance));
    format!(
        "{} {operator}{matching} {}",
        vector(chance, depth - 1),
        vector(chance, depth - 1)
    )
}

fn with_scalar(chance: &mut Chance, depth: u32) -> String {
    let operator = operator(chance);
    let (vector, scalar) = (vector(chance, depth - 1), scalar(chance, depth - 1));
    if chance.below(2) == 0 {
        format!("{vector} {operator} {scalar}")
    } else {
        format!("{scalar} {operator} {vector}")
    }
}
