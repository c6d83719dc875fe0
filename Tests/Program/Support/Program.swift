import CProgramTests
import Foundation
import Synchronization
import Testing

/// The release binary that `make build` leaves, started with arguments; its output is collected while it runs.
final class Program {
    struct Failure: Error, CustomStringConvertible { let description: String }
    struct Result { let code: Int32, output: String, error: String }

    static var path: String {
        get throws {
            let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            let path = ProcessInfo.processInfo.environment["STRATOVIRT"] ?? root.appending(path: ".build/release/stratovirt").path(percentEncoded: false)
            guard FileManager.default.isExecutableFile(atPath: path) else { throw Failure(description: "\(path) is missing: run `make build` first") }
            return path
        }
    }

    let processID: Int32
    private let input: FileHandle
    private let logs: TemporaryFolder
    private let outputFile: URL
    private let errorFile: URL
    /// What waitpid(2) said; nil while it runs.
    private let status = Mutex<Int32?>(nil)

    /// Not by Foundation's Process: it leaves a descriptor open in the program to learn of its end, and then waits for that alone.
    init(_ arguments: [String], executable: String? = nil, in folder: TemporaryFolder) throws {
        logs = try TemporaryFolder()
        outputFile = logs.file("stdout")
        errorFile = logs.file("stderr")
        let path = try executable ?? Self.path
        let pipe = Pipe()
        input = pipe.fileHandleForWriting
        let words = ([path] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        processID = program_start(path, words, folder.url.path(percentEncoded: false), pipe.fileHandleForReading.fileDescriptor,
                                  outputFile.path(percentEncoded: false), errorFile.path(percentEncoded: false))
        guard processID > 0 else { throw Failure(description: "cannot start \(path): \(String(cString: strerror(-processID)))") }
    }

    deinit {
        guard isRunning else { return }
        kill(processID, SIGKILL)
        waitpid(processID, nil, 0)
    }

    var isRunning: Bool {
        status.withLock { status in
            var new: Int32 = 0
            if status == nil, waitpid(processID, &new, WNOHANG) == processID { status = new }
            return status == nil
        }
    }

    var outputBytes: [UInt8] { (try? Array(Data(contentsOf: outputFile))) ?? [] }
    var output: String { String(decoding: (try? Data(contentsOf: outputFile)) ?? Data(), as: UTF8.self) }
    var error: String { String(decoding: (try? Data(contentsOf: errorFile)) ?? Data(), as: UTF8.self) }

    func type(_ text: String) { try? input.write(contentsOf: Data(text.utf8)) }
    func signal(_ number: Int32) { if isRunning { kill(processID, number) } }

    /// Waits for the end of the process; the limit is far above what any case needs, so that only a hang meets it.
    func wait(seconds: Double = 60) throws -> Result {
        try until("the program ends, \(output) \(error)", seconds: seconds) { !isRunning }
        let status = status.withLock { $0 } ?? 0
        // A negative code stands for the signal that killed it.
        return Result(code: status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f), output: output, error: error)
    }

    func waitForOutput(_ text: String) throws {
        try until("output \(text.debugDescription), have \(output.debugDescription) and error \(error.debugDescription)") { output.contains(text) || !isRunning }
        guard output.contains(text) else { throw Failure(description: "ended before \(text.debugDescription): \(output) \(error)") }
    }

    static func run(_ arguments: [String], in folder: TemporaryFolder) throws -> Result {
        try Program(arguments, in: folder).wait()
    }
}

/// Polls until `condition` holds.
func until(_ what: @autoclosure () -> String, seconds: Double = 60, _ condition: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while try !condition() {
        if Date() > deadline { throw Program.Failure(description: "waited \(seconds) s in vain until \(what())") }
        usleep(2_000)
    }
}

/// A folder that goes with its owner.
final class TemporaryFolder {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "stratovirt-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func file(_ name: String) -> URL { url.appending(path: name) }
    func path(_ name: String) -> String { file(name).path(percentEncoded: false) }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: file(name))
        return path(name)
    }

    /// A sparse file of `size` bytes.
    func image(_ name: String, size: UInt64) throws -> String {
        let path = try write(name, [])
        guard truncate(path, off_t(size)) == 0 else { throw Program.Failure(description: "truncate \(path)") }
        return path
    }

    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: url.path(percentEncoded: false))) ?? []).sorted() }
}
