use super::*;

const HOUR: u64 = 3_600_000_000_000;
const NEW_YEAR: u64 = 1_767_225_600_000_000_000;
const DAY: Duration = Duration::from_hours(24);

/// A folder for one test, removed at its end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("droptrace-history-{}-{name}", std::process::id())))
    }

    fn open(&self, bytes: u64) -> Folder {
        Folder::open(&self.0, Limits { bytes, age: DAY }).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn at(hours: u64) -> Timestamp {
    Timestamp(NEW_YEAR + hours * HOUR)
}

#[test]
fn each_hour_has_a_file_and_old_ones_are_deleted() {
    let folder = Temporary::new("hours");
    let mut history = folder.open(1 << 20);
    for hour in 0..30 {
        history.append(b"frame", at(hour)).unwrap();
        history.append(b"frame", at(hour)).unwrap();
    }
    let names = folder.names();
    // Those of the last 24 hours, of the hour that is partly older, and of this one.
    assert_eq!((names.len(), &*names[0], &*names[24]), (25, "drops-20260101T05-000.dth", "drops-20260102T05-000.dth"));
    assert_eq!(fs::read(folder.0.join(&names[24])).unwrap(), b"frameframe");
    let mode = fs::metadata(folder.0.join(&names[24])).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn all_files_stay_below_the_limit_and_the_oldest_go_first() {
    let folder = Temporary::new("bytes");
    let mut history = folder.open(80_000);
    let frame = [7; 3_000];
    for number in 0..100 {
        let bytes = history.append(&frame, at(number / 60)).unwrap();
        let found = files(&folder.0).unwrap();
        assert_eq!(bytes, found.iter().map(|found| found.length).sum::<u64>());
        assert!(bytes <= 80_000, "{bytes}");
        assert!(found.iter().all(|found| found.length <= 10_000), "{found:?}");
    }
    assert!(!folder.names().contains(&"drops-20260101T00-000.dth".to_owned()), "{:?}", folder.names());
    let error = history.append(&vec![7; 90_000], at(2)).unwrap_err();
    assert!(error.to_string().contains("the limit of all files is 80000 bytes"), "{error}");
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = Temporary::new("others");
    let mut history = folder.open(1_000);
    let others = ["notes.txt", "drops-19990101T00-000.dth.bak", "drops-old.dth"];
    for other in others {
        fs::write(folder.0.join(other), [0; 5_000]).unwrap();
    }
    std::os::unix::fs::symlink("notes.txt", folder.0.join("drops-20250101T00-000.dth")).unwrap();
    fs::write(folder.0.join("drops-20250101T01-000.dth"), "old").unwrap();
    history.append(b"frame", at(0)).unwrap();
    let expected = [
        "drops-19990101T00-000.dth.bak",
        "drops-20250101T00-000.dth",
        "drops-20260101T00-000.dth",
        "drops-old.dth",
        "notes.txt",
    ];
    assert_eq!(folder.names(), expected);
}

#[test]
fn two_agents_cannot_share_a_folder() {
    let folder = Temporary::new("lock");
    let first = folder.open(1_000);
    let second = Folder::open(&folder.0, Limits { bytes: 1_000, age: DAY }).unwrap_err();
    assert!(
        matches!(second, FolderError::Busy { .. }) && second.to_string().contains("name another folder"),
        "{second}"
    );
    drop(first);
    folder.open(1_000);
}

#[test]
fn next_agent_appends_to_the_file_of_the_hour() {
    let folder = Temporary::new("again");
    folder.open(1 << 20).append(b"one", at(0)).unwrap();
    folder.open(1 << 20).append(b"two", at(0)).unwrap();
    assert_eq!(fs::read(folder.0.join("drops-20260101T00-000.dth")).unwrap(), b"onetwo");
}

#[test]
fn file_that_somebody_deleted_is_made_again() {
    let folder = Temporary::new("deleted");
    let mut history = folder.open(1 << 20);
    history.append(b"one", at(0)).unwrap();
    fs::remove_file(folder.0.join("drops-20260101T00-000.dth")).unwrap();
    history.append(b"two", at(0)).unwrap();
    assert_eq!(fs::read(folder.0.join("drops-20260101T00-000.dth")).unwrap(), b"two");
}

#[test]
fn clock_that_is_set_back_and_forth_loses_no_file() {
    let folder = Temporary::new("clock");
    let mut history = folder.open(1 << 20);
    for hour in [5, 4, 5, 6] {
        history.append(b"frame", at(hour)).unwrap();
    }
    let found: Vec<_> = files(&folder.0).unwrap().iter().map(|found| found.length).collect();
    assert_eq!(found, [5, 10, 5]);
}
