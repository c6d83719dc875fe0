import Foundation
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

    private let process = Process()
    private let input = Pipe()
    private let logs: TemporaryFolder
    private let outputFile: URL
    private let errorFile: URL

    init(_ arguments: [String], executable: String? = nil, in folder: TemporaryFolder) throws {
        logs = try TemporaryFolder()
        outputFile = logs.file("stdout")
        errorFile = logs.file("stderr")
        for file in [outputFile, errorFile] { _ = FileManager.default.createFile(atPath: file.path(percentEncoded: false), contents: nil) }
        process.executableURL = URL(filePath: try executable ?? Self.path)
        process.arguments = arguments
        process.currentDirectoryURL = folder.url
        process.standardInput = input
        process.standardOutput = try FileHandle(forWritingTo: outputFile)
        process.standardError = try FileHandle(forWritingTo: errorFile)
        try process.run()
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    var processID: Int32 { process.processIdentifier }
    var isRunning: Bool { process.isRunning }
    var outputBytes: [UInt8] { (try? Array(Data(contentsOf: outputFile))) ?? [] }
    var output: String { String(decoding: (try? Data(contentsOf: outputFile)) ?? Data(), as: UTF8.self) }
    var error: String { String(decoding: (try? Data(contentsOf: errorFile)) ?? Data(), as: UTF8.self) }

    func type(_ text: String) { try? input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }
    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// Waits for the end of the process; the limit is far above what any case needs, so that only a hang meets it.
    func wait(seconds: Double = 60) throws -> Result {
        try until("the program ends", seconds: seconds) { !process.isRunning }
        // A negative code stands for the signal that killed it.
        let code = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        return Result(code: code, output: output, error: error)
    }

    func waitForOutput(_ text: String) throws {
        try until("output \(text.debugDescription), have \(output.debugDescription) and error \(error.debugDescription)") { output.contains(text) || !process.isRunning }
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
