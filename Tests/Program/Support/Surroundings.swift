import Foundation

/// What /proc tells of a process.
struct ProcessFacts {
    let id: Int32

    var isAlive: Bool {
        // A zombie has ended; nobody has asked for its status yet.
        guard let stat = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8) else { return false }
        return !stat.contains(") Z ")
    }

    /// Where each open descriptor leads.
    var descriptors: [Int: String] {
        var found: [Int: String] = [:]
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/fd")) ?? [] {
            if let number = Int(name) { found[number] = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(id)/fd/\(name)") }
        }
        return found
    }

    var workingDirectory: String? { try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(id)/cwd") }

    /// All of a file in /proc/PID. The kernel gives such a file a page at a time, and String(contentsOfFile:) takes the first for all of it.
    func text(_ name: String) -> String {
        let bytes = try? FileHandle(forReadingAtPath: "/proc/\(id)/\(name)")?.readToEnd()
        return String(decoding: bytes ?? Data(), as: UTF8.self)
    }

    /// Resident KiB outside guest memory.
    var residentKiB: Int { outsideGuest("Rss:") }

    /// KiB outside guest memory that the process has for itself, since it wrote them. Not Private_Dirty: that is also all of a program whose file was made
    /// just now and is not on the disk yet.
    var writtenKiB: Int { outsideGuest("Anonymous:") }

    /// The sum of a field of smaps over mappings under 128 MiB.
    private func outsideGuest(_ field: String) -> Int {
        var total = 0, size = 0
        for line in text("smaps").split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count == 3, let number = Int(words[1]) else { continue }
            if words[0] == "Size:" { size = number }
            if words[0] == field, size < 128 << 10 { total += number }
        }
        return total
    }
}

/// A program that has gone to the background.
final class BackgroundProgram {
    /// What the process that was started said and ended with.
    let start: Program.Result
    let pidFile: String
    let facts: ProcessFacts

    /// Starts it with `-daemonize -pidfile p`, in the folder's `p`.
    init(_ arguments: [String], in folder: TemporaryFolder) throws {
        pidFile = folder.path("p")
        start = try Program.run(arguments + ["-daemonize", "-pidfile", pidFile], in: folder)
        guard start.code == 0, let id = Int32((try? String(contentsOfFile: pidFile, encoding: .utf8)) ?? "") else {
            throw Program.Failure(description: "did not start: \(start)")
        }
        facts = ProcessFacts(id: id)
    }

    deinit { if facts.isAlive { kill(facts.id, SIGKILL) } }

    func waitForEnd() throws { try until("the daemon ends") { !facts.isAlive } }
}
