import Glibc
@testable import LinuxSys
import Testing

@Suite struct InheritedDescriptorTests {
    private typealias Table = InheritedDescriptors.Table

    @Test func openDescriptors_areFoundWithoutProc() throws {
        let high: Int32 = 700
        let file = try SysFile.open("/dev/null", .readOnly)
        #expect(dup2(file.raw, high) == high)
        let found = InheritedDescriptors.openNumbers(in: 3..<InheritedDescriptors.limit)
        #expect(found.contains(file.raw) && found.contains(high))
        #expect(!found.contains { $0 < 3 })
        close(high)
        #expect(!InheritedDescriptors.openNumbers(in: high..<high + 1).contains(high))
    }

    @Test func descriptor_isHandedOutOnce() throws {
        var table = Table([5])
        #expect(try table.take(5) == 5)
        #expect(throws: InheritedDescriptorError.taken(5)) { _ = try table.take(5) }
        #expect(InheritedDescriptorError.taken(5).description == "descriptor 5 is used twice")
    }

    @Test func numberThatTheParentDidNotLeaveOpen_isRefused() {
        var table = Table([5])
        #expect(throws: InheritedDescriptorError.notOpen(6)) { _ = try table.take(6) }
        #expect(throws: InheritedDescriptorError.notOpen(-1)) { _ = try table.take(-1) }
        #expect(throws: InheritedDescriptorError.standardStream(0)) { _ = try table.take(0) }
        #expect(InheritedDescriptorError.notOpen(6).description == "descriptor 6 was not open when the program started")
        #expect(InheritedDescriptorError.standardStream(2).description == "descriptor 2 is a standard stream")
    }

    @Test func whatNobodyNamed_isClosed_andTheRestStays() throws {
        let taken = try SysFile.open("/dev/null", .readOnly)
        let unnamed = try SysFile.open("/dev/null", .readOnly).take()
        var table = Table([taken.raw, unnamed])
        _ = try table.take(taken.raw)
        table.closeUnnamed()
        #expect(fcntl(taken.raw, F_GETFD) >= 0)
        #expect(fcntl(unnamed, F_GETFD) == -1)
        #expect(throws: InheritedDescriptorError.notOpen(unnamed)) { _ = try table.take(unnamed) }
    }

    @Test(.enabled(if: isUsable("/dev/vhost-net"), "needs root and the module vhost_net")) func vhostNet_staysForNetdevAdd() throws {
        let file = try SysFile.open("/dev/vhost-net", .readWrite)
        var table = Table([file.raw])
        table.closeUnnamed()
        #expect(fcntl(file.raw, F_GETFD) >= 0)
    }

    @Test(.enabled(if: isUsable("/dev/net/tun"), "needs root and /dev/net/tun")) func tunDeviceWithoutInterface_isOfNoUseToAnybody() throws {
        let number = try SysFile.open("/dev/net/tun", .readWrite).take()
        var table = Table([number])
        table.closeUnnamed()
        #expect(fcntl(number, F_GETFD) == -1)
    }
}

private func isUsable(_ path: String) -> Bool { (try? SysFile.open(path, .readWrite).raw) != nil }
