//! The layout holds itself: imports run downward, the core stays pure, rooms stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// Every room of the product, and the doubles and the calibration, which are held to the same manners.
const ROOMS: [&str; 10] = [
    "workflows/src",
    "engine/src",
    "engine/calibration/src",
    "providers/src",
    "providers/conformance/src",
    "providers/kubernetes/src",
    "providers/ecs/src",
    "providers/azure/src",
    "providers/doubles/src",
    "src",
];

/// One crate for each cloud whose own client is heavy: a test of one cloud builds no other.
const CLOUDS: [&str; 3] = ["providers/kubernetes/src", "providers/ecs/src", "providers/azure/src"];

/// Rust files below a folder of the repository.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test(&path) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found.sort();
    found
}

/// Test code in files of its own answers to other rules.
fn is_test(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    let names = [
        "tests.rs",
        "story.rs",
        "stories.rs",
        "conformance.rs",
        "corpus.rs",
        "fuzz.rs",
    ];
    names.contains(&name.as_ref()) || path.components().any(|part| part.as_os_str() == "tests")
}

/// Code without comments and without the unit tests at the file's end.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Each place where one of the words stands in the code of a folder.
fn places(folder: &str, words: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for (path, text) in sources(folder) {
        for line in code(&text).lines() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                places.push(format!("{}: {word}: {}", path.display(), line.trim()));
            }
        }
    }
    places
}

#[test]
fn imports_run_from_the_face_down_to_the_language() {
    assert_eq!(
        places(
            "workflows/src",
            &["meridian_engine", "meridian_providers", "meridian::"]
        ),
        [""; 0]
    );
    assert_eq!(places("engine/src", &["meridian_providers", "meridian::"]), [""; 0]);
    assert_eq!(places("providers/src", &["meridian::"]), [""; 0]);
    for cloud in CLOUDS {
        let above = ["meridian::", "meridian_providers", "meridian_conformance"];
        assert_eq!(places(cloud, &above), [""; 0], "in {cloud}");
    }
    let above = [
        "meridian::",
        "meridian_providers",
        "meridian_kubernetes",
        "meridian_ecs",
        "meridian_azure",
    ];
    assert_eq!(places("providers/conformance/src", &above), [""; 0]);
}

#[test]
fn no_cloud_knows_another() {
    for cloud in CLOUDS {
        let own = format!("meridian_{}", cloud.split('/').nth(1).unwrap());
        let others = ["meridian_kubernetes", "meridian_ecs", "meridian_azure"];
        let others: Vec<&str> = others.into_iter().filter(|name| *name != own).collect();
        assert_eq!(places(cloud, &others), [""; 0], "in {cloud}");
    }
}

#[test]
fn doubles_are_for_tests_only() {
    for room in ROOMS.iter().filter(|room| **room != "providers/doubles/src") {
        assert_eq!(places(room, &["meridian_doubles"]), [""; 0], "in {room}");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(room.trim_end_matches("src"))
            .join("Cargo.toml");
        let text = fs::read_to_string(manifest).unwrap();
        // The root's manifest is the workspace's too, whose list of versions is no use of one.
        let package = text.split("[package]").nth(1).unwrap();
        let shipped = package.split("[dev-dependencies]").next().unwrap();
        let needs = shipped.lines().any(|line| line.starts_with("meridian-doubles"));
        assert!(!needs, "{room} ships the doubles");
    }
}

#[test]
fn calibration_measures_the_product_and_is_no_part_of_it() {
    for room in ROOMS.iter().filter(|room| **room != "engine/calibration/src") {
        assert_eq!(places(room, &["meridian_calibration"]), [""; 0], "in {room}");
    }
    let above = [
        "use meridian::",
        "meridian_providers",
        "SystemTime",
        "Instant::now",
        "rand::",
    ];
    assert_eq!(places("engine/calibration/src", &above), [""; 0]);
}

#[test]
fn the_core_knows_no_async_no_clock_no_chance_and_no_world() {
    let impure = [
        "async ",
        ".await",
        "tokio",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "rand::",
        "std::fs",
        "std::net",
        "std::env",
        "std::thread",
        "println!",
        "tracing::",
    ];
    assert_eq!(places("engine/src/run", &impure), [""; 0]);
    let ours = [
        "crate::ports",
        "crate::store",
        "crate::scheduler",
        "crate::simulation",
        "crate::service",
        "crate::replay",
    ];
    assert_eq!(places("engine/src/run", &ours), [""; 0]);
}

#[test]
fn the_language_knows_no_clock_and_no_world() {
    let impure = [
        "async ",
        ".await",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "std::fs",
        "std::net",
    ];
    assert_eq!(places("workflows/src", &impure), [""; 0]);
}

#[test]
fn ports_know_the_core_and_no_shell() {
    let shells = [
        "crate::store",
        "crate::scheduler",
        "crate::simulation",
        "crate::service",
        "crate::replay",
    ];
    assert_eq!(places("engine/src/ports", &shells), [""; 0]);
}

#[test]
fn no_shell_of_the_engine_imports_another_but_the_service() {
    for (shell, others) in [
        (
            "engine/src/store",
            &["crate::scheduler", "crate::simulation", "crate::service"] as &[&str],
        ),
        (
            "engine/src/simulation",
            &["crate::store", "crate::scheduler", "crate::service"],
        ),
        (
            "engine/src/scheduler",
            &["crate::store", "crate::simulation", "crate::service"],
        ),
    ] {
        assert_eq!(places(shell, others), [""; 0], "in {shell}");
    }
}

#[test]
fn files_are_named_for_their_idea() {
    for folder in ROOMS {
        for (path, _) in sources(folder) {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let vague = [
                "utils", "util", "helpers", "common", "manager", "imp", "misc", "types", "errors",
            ];
            assert!(
                !vague.contains(&name.as_str()),
                "{} says a role, not an idea",
                path.display()
            );
        }
    }
}

#[test]
fn every_file_opens_with_the_sentence_that_says_what_it_is() {
    for folder in ROOMS {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//! "), "{} opens with something else", path.display());
        }
    }
}

#[test]
fn nothing_is_left_to_do_later() {
    let unfinished = ["todo!(", "unimplemented!(", "FIXME", "TODO", "XXX"];
    for folder in ROOMS {
        for (path, text) in sources(folder) {
            let found = unfinished.iter().find(|word| text.contains(**word));
            assert_eq!(found, None, "in {}", path.display());
        }
    }
}

/// Lines of code that a file may have before it is two thoughts; those above it now may only shrink.
const LINES_MAX: usize = 650;

#[test]
fn a_file_that_grows_is_split() {
    for folder in ROOMS {
        for (path, text) in sources(folder) {
            let lines = code(&text).lines().filter(|line| !line.trim().is_empty()).count();
            assert!(
                lines <= LINES_MAX,
                "{} has {lines} lines of code; split it (at most {LINES_MAX})",
                path.display()
            );
        }
    }
}
