use std::fs;
use std::io::Read as _;

use super::*;

fn device_full() -> Output {
    Output::open(Some(Path::new("/dev/full"))).unwrap()
}

#[test]
fn unwritable_path_fails_at_once() {
    let error = Output::open(Some(Path::new("/nowhere/at/all"))).unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(error));
    assert_eq!(text, "cannot write to /nowhere/at/all: No such file or directory (os error 2)");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let mut output = device_full();
    output.write_all(b"small enough for the buffer").unwrap();
    let error = output.flush().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let error = anyhow::Error::from(error);
    assert_eq!(format!("{error:#}"), "writing to /dev/full failed: No space left on device (os error 28)");
    assert!(!reader_gone(&error));
}

#[test]
fn output_beyond_the_buffer_fails_without_a_flush() {
    assert_eq!(device_full().write_all(&vec![0; BUFFER + 1]).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn closed_pipe_is_distinguished_from_other_errors() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut output = Output::from_file(File::from(std::os::fd::OwnedFd::from(writer)), None).unwrap();
    output.write_all(b"to nobody").unwrap();
    let error = output.flush().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let error = anyhow::Error::from(error).context("showing drops");
    assert!(reader_gone(&error), "{error:#}");
    let other = io::Error::from(io::ErrorKind::BrokenPipe);
    assert!(!reader_gone(&other.into()), "another pipe's end is a failure");
}

#[test]
fn run_that_fails_before_its_results_leaves_no_new_file() {
    let path = env::temp_dir().join(format!("droptrace-failed-{}", std::process::id()));
    drop(Output::open(Some(&path)).unwrap());
    assert!(!path.exists());
    let (page, nowhere) = (path.with_extension("html"), Path::new("/nowhere/at/all"));
    Output::open_apart(Some(&path), Some(nowhere), []).unwrap_err();
    Output::open_apart(Some(&page), Some(&page), []).unwrap_err();
    assert!(!path.exists() && !page.exists());
    Output::open(Some(&path)).unwrap().finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"", "an empty result is one");
    fs::write(&path, "old").unwrap();
    drop(Output::open(Some(&path)).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    fs::remove_file(path).unwrap();
}

#[test]
fn file_that_another_run_writes_to_is_refused() {
    let path = env::temp_dir().join(format!("droptrace-busy-{}", std::process::id()));
    let first = Output::open(Some(&path)).unwrap();
    let error = Output::open(Some(&path)).unwrap_err().to_string();
    assert!(error.starts_with("another droptrace is writing to ") && error.contains("another name"), "{error}");
    drop(first);
    Output::open(Some(&path)).unwrap();
}

#[test]
fn old_content_is_removed_with_the_first_result() {
    let path = env::temp_dir().join(format!("droptrace-output-{}", std::process::id()));
    fs::write(&path, "what was there before").unwrap();
    drop(Output::open(Some(&path)).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"what was there before", "a run that failed");
    let mut output = Output::open(Some(&path)).unwrap();
    assert!(!output.is_terminal() && !output.wants_color(ColorChoice::Auto));
    output.write_all(b"new").unwrap();
    output.flush().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    output.write_all(b" and more").unwrap();
    drop(output);
    assert_eq!(fs::read(&path).unwrap(), b"new and more");
    Output::open(Some(&path)).unwrap().finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"", "a run without results");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_failed_run_leaves_a_compressed_file_as_it_was() {
    let path = env::temp_dir().join(format!("droptrace-output-{}-failed.zst", std::process::id()));
    fs::write(&path, "what was there before").unwrap();
    drop(Output::open(Some(&path)).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"what was there before");
    fs::remove_file(path).unwrap();
}

#[test]
fn zst_file_is_compressed_and_complete_even_without_finish() {
    for finish in [true, false] {
        let path = env::temp_dir().join(format!("droptrace-output-{}-{finish}.zst", std::process::id()));
        let mut output = Output::open(Some(&path)).unwrap();
        output.write_all(&[b'a'; 10_000]).unwrap();
        output.flush().unwrap();
        let flushed = fs::read(&path).unwrap();
        let mut so_far = vec![0; 10_000];
        zstd::stream::read::Decoder::new(&flushed[..]).unwrap().read_exact(&mut so_far).unwrap();
        if finish {
            output.finish().unwrap();
            output.finish().unwrap();
        }
        drop(output);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(whole.len() < 1_000);
        assert_eq!(zstd::decode_all(&whole[..]).unwrap(), [b'a'; 10_000]);
    }
}

#[test]
fn end_of_compressed_frame_can_fail() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut output = Output::from_file(full, Some("drops.zst".into())).unwrap();
    output.write_all(b"small enough for the buffer").unwrap();
    let error = anyhow::Error::from(output.finish().unwrap_err());
    assert_eq!(format!("{error:#}"), "writing to drops.zst failed: No space left on device (os error 28)");
}

#[test]
fn sizes() {
    let columns = |text| Some(OsStr::new(text));
    let cases = [
        (None, None, (100, None)),
        (columns("140"), None, (140, None)),
        (columns("junk"), None, (100, None)),
        (columns("0"), None, (100, None)),
        (None, Some((120, 40)), (120, Some(40))),
        (columns("140"), Some((120, 40)), (140, Some(40))),
        (None, Some((0, 0)), (80, Some(24))),
    ];
    for (columns, terminal, (width, height)) in cases {
        assert_eq!(size(columns, terminal), Size { width, height }, "{columns:?} {terminal:?}");
    }
}

#[test]
fn colors() {
    let no_color = Some(OsStr::new("1"));
    assert!(color(ColorChoice::Auto, true, None));
    assert!(color(ColorChoice::Auto, true, Some(OsStr::new(""))));
    assert!(!color(ColorChoice::Auto, true, no_color));
    assert!(!color(ColorChoice::Auto, false, None));
    assert!(color(ColorChoice::Always, false, no_color));
    assert!(!color(ColorChoice::Never, true, None));
}
