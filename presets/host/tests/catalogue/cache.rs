//! The cache of compiled presets: what was not written with the key is never loaded.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ephemeron_preset_host::{
    cache::{Cache, CacheError, Key},
    catalogue::Change,
    compile::Compiler,
    engine::Engine,
    limits::Limits,
    loader::Loader,
};

use crate::{
    guest::Guest,
    shop::{Shop, folders, limits, named, preset, put},
};

crate::tests!(
    what_was_compiled_is_there_at_the_next_start,
    what_was_tampered_with_is_removed_and_compiled_anew,
    entries_belong_to_their_file_and_their_key,
    large_entries_are_proved_and_run_from_the_same_copy,
    what_was_not_used_makes_room,
    a_folder_that_is_not_private_is_refused,
    a_catalogue_uses_it_and_tells_what_is_wrong_with_it,
);

fn key(number: u8) -> Key {
    Key::new(vec![number; 32]).expect("a key")
}

fn loader(folder: &Path, key: Option<Key>, size: usize) -> Loader {
    let limits = Limits { cache: size, ..limits() };
    let cache = Cache::open(folder, key, limits.cache, limits.compiled).expect("a cache");
    Loader::new(Engine::new(limits.clone()).expect("an engine"), Compiler::new(&limits), Some(cache))
}

fn is_cached(loader: &Loader, bytes: &[u8]) -> bool {
    loader.cached(bytes).expect("a preset").is_some()
}

fn load(loader: &Loader, bytes: &[u8]) -> u16 {
    let module = loader.load(bytes).expect("a preset");
    module.render("{}", "{}").expect("an answer").document.port
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ends| ends == "aot")).collect();
    paths.sort();
    paths
}

fn what_was_compiled_is_there_at_the_next_start() {
    let [folder] = folders();
    let place = folder.path().join("cache");
    // Once with a key that is given, once with one that lies in the folder.
    for (number, key) in [(1, Some(key(1))), (2, None)] {
        let bytes = preset("web", number);
        let first = loader(&place, key.clone(), 1 << 30);
        assert!(!is_cached(&first, &bytes));
        assert_eq!(load(&first, &bytes), number);
        let next = loader(&place, key, 1 << 30);
        assert!(is_cached(&next, &bytes));
        assert_eq!(load(&next, &bytes), number);
        assert!(first.remarks().is_empty() && next.remarks().is_empty());
    }
    assert_eq!(entries(&place).len(), 2);
}

fn what_was_tampered_with_is_removed_and_compiled_anew() {
    let [folder, outside] = folders();
    let (bytes, loader) = (preset("web", 1), loader(folder.path(), Some(key(1)), 1 << 30));
    load(&loader, &bytes);
    let path = entries(folder.path()).remove(0);
    let good = fs::read(&path).expect("an entry");
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    let last = good.len() - 1;
    let mut bad: Vec<_> = [0, 20, 47, 48, good.len() / 2, last].into_iter().map(flipped).collect();
    bad.extend([0, 1, 16, 47, 48, last].map(|size| good[..size].to_vec()));
    // Code that another engine, or the same, has made, and that nobody has signed; and a file that goes on.
    bad.extend([good[48..].to_vec(), [&good[..], b"x"].concat(), b"\x7fELF".to_vec()]);
    for bad in bad {
        fs::write(&path, &bad).expect("it is tampered with");
        assert!(!is_cached(&loader, &bytes), "{} bytes", bad.len());
        let remarks = loader.remarks();
        assert!(remarks.len() == 1 && remarks[0].contains("was removed"), "{remarks:?}");
        assert!(!path.exists());
    }
    let elsewhere = outside.path().join("entry");
    fs::write(&elsewhere, &good).expect("a file");
    symlink(&elsewhere, &path).expect("a link");
    assert!(!is_cached(&loader, &bytes) && elsewhere.exists());
    assert!(loader.remarks()[0].contains("a link"));
    assert_eq!(load(&loader, &bytes), 1);
    assert!(is_cached(&loader, &bytes));
}

fn entries_belong_to_their_file_and_their_key() {
    let [folder] = folders();
    let (one, other) = (preset("web", 1), preset("web", 2));
    let ours = loader(folder.path(), Some(key(1)), 1 << 30);
    load(&ours, &one);
    let path = entries(folder.path()).remove(0);
    load(&ours, &other);
    let of_other = entries(folder.path()).into_iter().find(|entry| *entry != path).expect("another entry");
    fs::copy(&of_other, &path).expect("it is swapped");
    assert_eq!(load(&ours, &one), 1);
    assert!(ours.remarks()[0].contains("was removed"));
    // Another installation's entries are none of ours.
    let theirs = loader(folder.path(), Some(key(2)), 1 << 30);
    assert!(!is_cached(&theirs, &one));
    assert_eq!(theirs.remarks().len(), 1);
    assert!(matches!(Key::new(vec![1; 15]), Err(CacheError::ShortKey(15))));
    assert!(!format!("{:?}", key(1)).contains('1'));
}

fn large_entries_are_proved_and_run_from_the_same_copy() {
    let [folder] = folders();
    let items = format!(r#"(data (i32.const 65536) "{}")"#, "x".repeat(2 << 20));
    let bytes = Guest { memory: "40", items, ..named("web", 1) }.bytes();
    let ours = loader(folder.path(), Some(key(1)), 1 << 30);
    assert_eq!(load(&ours, &bytes), 1);
    let path = entries(folder.path()).remove(0);
    let entry = fs::read(&path).expect("an entry");
    assert!(entry.len() > 2 << 20, "{} bytes", entry.len());
    let module = ours.cached(&bytes).expect("a preset").expect("an entry");
    // In place, as by somebody who has the file open: what runs is what was proved.
    fs::write(&path, vec![0xcc; entry.len()]).expect("it is written");
    for _ in 0..2 {
        assert_eq!(module.render("{}", "{}").expect("an answer").document.port, 1);
    }
    assert!(!is_cached(&ours, &bytes) && ours.remarks()[0].contains("was removed"));
    let last = entry.len() - 1;
    for (at, cut) in [(last, entry.len()), (20, entry.len()), (0, last), (0, 40), (0, 0)] {
        let mut changed = entry.clone();
        changed[at] ^= u8::from(cut == entry.len());
        fs::write(&path, &changed[..cut]).expect("it is written");
        assert!(!is_cached(&ours, &bytes), "{at} {cut}");
    }
    fs::write(&path, &entry).expect("it is written");
    assert!(is_cached(&ours, &bytes));
}

fn what_was_not_used_makes_room() {
    let [folder] = folders();
    let files: Vec<_> = (1..=4).map(|number| preset("web", number)).collect();
    load(&loader(folder.path(), Some(key(1)), 1 << 30), &files[0]);
    let first = entries(folder.path()).remove(0);
    let size = fs::metadata(&first).expect("an entry").len();
    // Room for three, of about one size.
    let loader = loader(folder.path(), Some(key(1)), usize::try_from(size).expect("a size") * 7 / 2);
    load(&loader, &files[1]);
    load(&loader, &files[2]);
    let [young, old] = [1, 9].map(|hours| SystemTime::now() - Duration::from_hours(hours));
    for path in entries(folder.path()) {
        let time = if path == first { old } else { young };
        fs::File::open(path).and_then(|file| file.set_modified(time)).expect("a time");
    }
    // The first is used now, and stays.
    assert!(is_cached(&loader, &files[0]));
    load(&loader, &files[3]);
    assert!(is_cached(&loader, &files[0]) && is_cached(&loader, &files[3]));
    assert_eq!(entries(folder.path()).len(), 3);
    assert_ne!(is_cached(&loader, &files[1]), is_cached(&loader, &files[2]));
}

fn a_folder_that_is_not_private_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let [folder] = folders();
    let open = |path: &Path| Cache::open(path, None, 1 << 30, 1 << 20).err();
    let link = folder.path().join("link");
    symlink(folder.path(), &link).expect("a link");
    assert!(matches!(open(&link), Some(CacheError::NotPrivate(..))));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).expect("a mode");
    let refused = open(folder.path()).expect("a refusal").to_string();
    assert!(refused.contains("mode 770"), "{refused}");
    assert!(open(Path::new("/proc/none")).is_some());
}

fn a_catalogue_uses_it_and_tells_what_is_wrong_with_it() {
    let [folder, cache] = folders();
    put(folder.path(), "web", &preset("web", 1));
    let place = cache.path().to_owned();
    let first = Shop::with([folder], |options| options.cache = Some(place.clone()));
    first.settle();
    drop(first);
    let open = || {
        let [folder] = folders();
        put(folder.path(), "web", &preset("web", 1));
        Shop::with([folder], |options| {
            options.cache = Some(place.clone());
            // What is not in the cache cannot be compiled.
            options.compiler = Some("/bin/false".into());
        })
    };
    let next = open();
    next.settle();
    assert_eq!(next.port("web"), 1);
    let entry = entries(&place).remove(0);
    let mut bytes = fs::read(&entry).expect("an entry");
    bytes.pop();
    fs::write(&entry, bytes).expect("it is truncated");
    let last = open();
    last.settle();
    let remark = last.until(|change| match change {
        Change::Cache(remark) => Some(remark.clone()),
        _ => None,
    });
    assert!(remark.contains("was removed"), "{remark}");
    assert!(last.absent("web").contains("the compiler has crashed"));
}
