import Foundation

/// How many of this process's descriptors are open files of one of `paths`. Tests run side by side, so the paths should be the caller's own.
func descriptorCount(of paths: Set<String>) -> Int {
    let folder = "/proc/self/fd"
    let numbers = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return numbers.count { number in
        (try? FileManager.default.destinationOfSymbolicLink(atPath: folder + "/" + number)).map(paths.contains) ?? false
    }
}
