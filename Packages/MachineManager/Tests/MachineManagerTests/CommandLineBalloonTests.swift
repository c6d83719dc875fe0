import Testing

@testable import MachineManager

@Suite struct CommandLineBalloonTests {
    private func balloon(_ text: String) throws -> VmConfig.VirtioBalloon? {
        let config = try parse(["-initrd", "i", "-device", "virtio-balloon-device" + text])
        guard case .virtioBalloon(let balloon)? = config.devices.first else { return nil }
        return balloon
    }

    @Test func balloon_isOffInAllRespectsUnlessAskedFor() throws {
        #expect(try balloon("") == VmConfig.VirtioBalloon(id: "virtio-balloon-device"))
        var expected = VmConfig.VirtioBalloon(id: "b")
        #expect(try balloon(",id=b,deflate-on-oom=false,free-page-reporting=off,auto-balloon=false,membuf-percent=30,monitor-interval=5") == expected)
        expected.deflatesOnOOM = true
        expected.reportsFreePages = true
        expected.auto = .init(bufferPercent: 50, interval: 10)
        #expect(try balloon(",id=b,deflate-on-oom=true,free-page-reporting=on,auto-balloon=true") == expected)
        expected.auto = .init(bufferPercent: 20, interval: 300)
        #expect(try balloon(",id=b,deflate-on-oom=true,free-page-reporting=on,auto-balloon=on,membuf-percent=20,monitor-interval=300") == expected)
    }

    private func mistake(_ text: String, _ more: String...) -> String { message(["-initrd", "i", "-device", "virtio-balloon-device" + text] + more) }

    @Test(arguments: [
        (",membuf-percent=19", "membuf-percent= must be a number from 20 to 80, not '19'"),
        (",membuf-percent=81", "membuf-percent= must be a number from 20 to 80, not '81'"),
        (",monitor-interval=4", "monitor-interval= must be a number from 5 to 300, not '4'"),
        (",monitor-interval=301", "monitor-interval= must be a number from 5 to 300, not '301'"), (",size=1", "unknown parameter 'size'"),
    ])
    func mistakes_areNamed(_ text: String, _ expected: String) { #expect(mistake(text) == "-device virtio-balloon-device: " + expected) }

    @Test func secondBalloon_isRefused() {
        #expect(mistake("", "-device", "virtio-balloon-device,id=b") == "-device virtio-balloon-device: there can be only one")
    }
}
