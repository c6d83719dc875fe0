import Foundation
import LinuxSys
import Testing

@Suite struct StorageTests {
    @Test func temporary_hasNoName_andTheSizeItIsGiven() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "storage-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = try SysFile.temporary(in: folder.path(percentEncoded: false))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path(percentEncoded: false)).isEmpty)
        #expect(try SysFile.status(of: file).size == 0)
        try file.setSize(5 << 30)
        #expect(try SysFile.status(of: file).size == 5 << 30)
        #expect(try SysFile.status(of: file).allocated == 0)
        var bytes: [UInt8] = [1]
        #expect(try file.pread(into: &bytes, at: 1 << 30) == 1 && bytes == [0])
    }

    @Test func badFolderOrSize_isAnError() throws {
        #expect(throws: Errno.noEntry) { _ = try SysFile.temporary(in: "/nothing/there") }
        #expect(throws: Errno.invalid) { _ = try SysFile.temporary(in: "/tmp\0x") }
        #expect(throws: Errno.nameTooLong) { _ = try SysFile.temporary(in: "/" + String(repeating: "a/", count: 3000)) }
        let file = try SysFile.temporary(in: NSTemporaryDirectory())
        #expect(throws: Errno.invalid) { try file.setSize(.max) }
    }

    @Test func processors_areThere() { #expect(HostProcessors.count >= 1) }
}
