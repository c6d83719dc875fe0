internal import Foundation

/// What dtc (Debian's device-tree-compiler) makes of a flattened device tree, for tests of nodes.
public struct DecompiledTree: Sendable {
    /// The tree as source, each line indented by tabs.
    public let source: String
    /// What dtc's checks complain about; empty for a good tree.
    public let warnings: String

    /// Why there is nothing to compare.
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    public init(_ blob: [UInt8]) throws {
        let tool = URL(fileURLWithPath: "/usr/bin/dtc")
        guard FileManager.default.isExecutableFile(atPath: tool.path) else {
            throw Failure(description: "dtc is needed: install device-tree-compiler")
        }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("fdt-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(at: folder) }
        // Files, since two pipes would want two readers.
        let files = (blob: folder.appendingPathComponent("tree.dtb"), source: folder.appendingPathComponent("tree.dts"))
        try Data(blob).write(to: files.blob)
        let dtc = Process()
        dtc.executableURL = tool
        dtc.arguments = ["-I", "dtb", "-O", "dts", "-o", files.source.path, files.blob.path]
        let complaints = Pipe()
        dtc.standardError = complaints
        try dtc.run()
        let text = String(decoding: complaints.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        dtc.waitUntilExit()
        guard dtc.terminationStatus == 0 else { throw Failure(description: "dtc cannot read the tree: \(text)") }
        warnings = text.replacingOccurrences(of: files.blob.path, with: "tree")
        // Older versions write a list of strings as one string.
        source = String(decoding: try Data(contentsOf: files.source), as: UTF8.self).replacingOccurrences(of: "\\0", with: "\", \"")
    }

    /// The text of `Golden/NAME.dts` beside the test that asks, to be compared with `source`.
    public static func golden(_ name: String, beside test: String = #filePath) throws -> String {
        let file = URL(fileURLWithPath: test).deletingLastPathComponent().appendingPathComponent("Golden/\(name).dts")
        return String(decoding: try Data(contentsOf: file), as: UTF8.self)
    }
}
