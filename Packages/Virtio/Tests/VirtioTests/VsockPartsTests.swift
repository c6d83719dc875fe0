import Testing
@testable import Virtio

/// The parts of the vsock device that know nothing of guests and sockets.
@Suite struct VsockPartsTests {
    @Test func header_isLittleEndianAndComesBack() throws {
        let header = VsockHeader(
            sourceCID: 0x0102_0304_0506_0708, destinationCID: 0x1112_1314_1516_1718, sourcePort: 0x2122_2324, destinationPort: 0x3132_3334, length: 0x4142_4344,
            type: 0x5152, operation: 0x6162, flags: 0x7172_7374, bufferSize: 0x8182_8384, forwarded: 0x9192_9394)
        var bytes = [UInt8](repeating: 0, count: 44)
        header.store(into: &bytes)
        #expect(bytes[..<10] == [8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17])
        #expect(bytes[16] == 0x24 && bytes[20] == 0x34 && bytes[24] == 0x44 && bytes[28] == 0x52 && bytes[30] == 0x62 && bytes[32] == 0x74)
        #expect(bytes[36] == 0x84 && bytes[40...] == [0x94, 0x93, 0x92, 0x91])
        #expect(VsockHeader(bytes) == header)
        #expect(VsockHeader(Array(bytes.dropLast())) == nil)
    }

    @Test func greeting_isOneLineWithAPort() {
        func parse(_ text: String) -> VsockGreeting { VsockGreeting(Array(text.utf8), count: text.utf8.count) }
        for (text, port) in [
            ("CONNECT 52\n", 52), ("connect 0\n", 0), ("CONNECT 4294967295\n", .max), ("  Connect \t 7 \r\n", 7), ("CONNECT 0000000000052\n", 52),
        ] as [(String, UInt32)] {
            #expect(parse(text) == .port(port, count: text.utf8.count))
        }
        // What follows the line belongs to the guest.
        #expect(parse("CONNECT 52\nGET /") == .port(52, count: 11))
        for text in ["", "C", "CONNECT", "CONNECT 52", "nonsense", String(repeating: "x", count: 31)] { #expect(parse(text) == .incomplete) }
        for text in [
            "\n", "CONNECT\n", "CONNECT \n", "CONNECT 4294967296\n", "CONNECT -1\n", "CONNECT +1\n", "CONNECT 0x10\n", "CONNECT 1 2\n", "CONNECT1\n", "CONNECTS 1\n",
            "ONNECT 1\n", "CONNECT ٣\n", "CONNECT 52\0\n", String(repeating: "x", count: 32), "CONNECT " + String(repeating: "1", count: 23) + "\n",
            String(repeating: " ", count: 32) + "CONNECT 1\n",
        ] {
            #expect(parse(text) == .wrong, "\(text)")
        }
        #expect(VsockGreeting([0xff, 0xfe, 0x0a], count: 3) == .wrong)
        #expect(VsockGreeting(Array("CONNECT 52\n".utf8), count: -1) == .incomplete)
        #expect(VsockGreeting.answer(.max) == Array("OK 4294967295\n".utf8))
    }

    // MARK: Credit

    @Test func credit_ofTheGuest_isItsBufferLessWhatWaitsInIt() {
        var credit = VsockCredit(buffer: 100)
        #expect(credit.available == 0)
        credit.learn(buffer: 1000, forwarded: 0)
        #expect(credit.available == 1000)
        credit.noteSent(600)
        #expect(credit.available == 400)
        credit.learn(buffer: 1000, forwarded: 100)
        #expect(credit.available == 500)
        // A smaller buffer than what waits in it.
        credit.learn(buffer: 400, forwarded: 100)
        #expect(credit.available == 0)
        // More taken out than was put in, or taken back.
        credit.learn(buffer: .max, forwarded: 601)
        #expect(credit.available == 0)
        credit.learn(buffer: 1000, forwarded: 600)
        #expect(credit.available == 1000)
    }

    @Test func credit_goesOnWhereCountersWrap() {
        var credit = VsockCredit(buffer: .max)
        credit.learn(buffer: 1 << 20, forwarded: 0)
        var sent: UInt32 = 0
        for _ in 0..<5000 {
            #expect(credit.available == 1 << 20)
            credit.noteSent(1 << 20)
            #expect(credit.available == 0)
            sent &+= 1 << 20
            credit.learn(buffer: 1 << 20, forwarded: sent)
        }
    }

    @Test func credit_forTheGuest_isExactAndAnnouncedInTime() {
        var credit = VsockCredit(buffer: 100)
        func receive(_ count: UInt32) -> Bool { credit.noteReceived(count) }
        func announce() -> UInt32 { credit.announce() }
        #expect(receive(100))
        #expect(!receive(1))
        credit.noteForwarded(49)
        #expect(!credit.owesUpdate)
        #expect(receive(49))
        #expect(!receive(1))
        credit.noteForwarded(1)
        #expect(credit.owesUpdate)
        #expect(announce() == 50)
        #expect(!credit.owesUpdate)
        #expect(!receive(.max))
        credit.noteForwarded(99)
        #expect(receive(100))
    }

    // MARK: Lines and tables

    @Test func turns_areInOrderAndNobodyIsInLineTwice() {
        var turns = VsockTurns(capacity: 4)
        func pop() -> Int? { turns.popFirst() }
        for slot in [2, 0, 2, 3, 0, 1, 1, 4, -1, 9] { turns.append(slot) }
        #expect(turns.count == 4)
        #expect(pop() == 2)
        turns.append(2)
        #expect((0..<4).map { _ in pop() } == [0, 3, 1, 2])
        #expect(pop() == nil)
        for round in 0..<10 {
            turns.append(round % 4)
            #expect(pop() == round % 4)
        }
    }

    @Test func resets_areBounded() {
        var resets = VsockResets()
        func pop() -> VsockResets.Reset? { resets.popFirst() }
        func reset(_ number: Int) -> VsockResets.Reset { VsockResets.Reset(cid: 2, hostPort: UInt32(number), guestPort: 1, type: 1) }
        for number in 0..<1000 { resets.append(reset(number)) }
        #expect(resets.count == VsockResets.capacity && !resets.hasRoom)
        for number in 0..<VsockResets.capacity { #expect(pop() == reset(number)) }
        #expect(pop() == nil)
        resets.append(reset(7))
        #expect(pop() == reset(7))
    }

    @Test func promises_getSmallerWhenThereAreMany_andAreTakenBack() {
        var table = VsockTable(limit: 2000)
        var sum: UInt64 = 0
        var smallest = UInt32.max
        for number in 0..<1023 {
            let buffer = table.takeCredit().buffer
            if number < 240 { #expect(buffer == VsockTable.largestBuffer) }
            sum += UInt64(buffer)
            smallest = min(smallest, buffer)
        }
        #expect(smallest == VsockTable.smallestBuffer)
        #expect(sum <= 20 << 20)
    }
}
