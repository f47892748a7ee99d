"""What is said of this voice and what of something else: sentences of all three kinds of text, each on a line.

They are the ones the rules were made with, so they hold the rules in place and measure nothing; what is measured is in
``test_voice_claims.py``.
"""

from __future__ import annotations

import pytest

from datagen.quality import checks, grounding, lexicon
from datagen.quality.claims import judge, split_quotes
from datagen.quality.facts import Record

EN = lexicon.load("en")
LOUD = {"emotion": "angry", "sentiment": "negative", "pitch_level": "high", "loudness_level": "high", "sex": "female",
        "rate_level": "high", "pause_level": "low", "pitch_range_level": "high", "arousal_level": "high",
        "dominance_level": "high"}  # fmt: skip
QUIET = {"emotion": "sad", "sentiment": "negative", "pitch_level": "low", "loudness_level": "low", "sex": "male",
         "rate_level": "low", "pause_level": "high", "pitch_range_level": "low", "arousal_level": "low",
         "age_years": 64.0}  # fmt: skip


def lines(texts):
    return [(column, line.strip()) for column, block in texts.items() for line in block.strip().splitlines()]


def refused(column, text, facts):
    record = Record("x", facts)
    masked, _, _ = split_quotes(text)
    found = [claim.text for claim in checks.claims_in(column, masked, record, EN) if judge(claim, record)]
    known = [{"field": name, "value": str(value)} for name, value in facts.items()]
    return [*found, *grounding.numbers(masked, known, EN)]


#: Nothing is known of these clips, so whatever is claimed about the voice is refused; nothing is claimed.
ELSEWHERE = {
    "answer": """
        The speaker recommends a quiet hotel near the harbour.
        A complaint about the slow internet connection at work.
        Someone explains why the old bridge is closed.
        The clip is about a child who lost a toy.
        A statement on rising prices.
        The speaker wants the door closed.
        An order for two large coffees.
        Prices are high this year, according to the speaker.
        The man mentioned in the sentence is called Peter.
        A warning that the road is icy.
        A quick lunch is proposed.
        The dog is the one that barks, in the speaker's words.
        It is a question about the time.
        The sentence names three animals.
        A friend is told to hurry.
        The speaker says the soup is cold.
        The speaker talks of strong winds.
        The order is for a soft drink and fries.
        A short sentence about a long journey.
        The first word is said at the start, the last at the end.
        Somebody is asked to speak up.
        The speaker is asking someone to be quiet.
        The person says they were crying all night.
        The child in the story is laughing.
        The low clouds are what the remark is about.
        The second volume of the series is out of print.
        The pitch was too muddy for football.
        The exchange rate has changed.
        Fast food is what the speaker wants.
        A salesman's pitch is quoted.
        The high fence has to go.
        The verb stands in the past tense.
        A crying shame, in the speaker's own words.
        It is about a man who laughs at everything.
        Silence is golden, so goes the proverb.
        A male nurse is needed on ward six.
        The speaker invites everybody to a happy hour.
        Only a quiet street is mentioned.
        A joke about a loud uncle.
        The speed limit is fifty.
        The speaker reports high temperatures for the weekend.
        The text tells of a sad farewell.
        A break at noon is agreed on.
        The subject is stress at work.
        An appeal to keep calm.
        A proposal to slow the project down.
        The listener is told not to cry.
        Somebody asks why the baby is crying.
        A hint at an accident on the motorway.
        The old house is for sale.
        The answer cannot be worked out from the loudness, which was not measured.
        The pauses were not measured.
        Nobody knows the speaker's age.
        The sex of the speaker is not known.
        I cannot say whether it is a woman or a man.
        The speaker is told off for being late.
        A rise in rents is announced.
    """,
    "reasoning": """
        A low voice or a slow pace would have pointed towards something else.
        Nothing of it speaks against sadness, and it leaves little room for joy or calm.
        That rules out fear.
        A raised voice can also be a sign of joy.
        Sadness usually comes with a slow tempo and a low pitch.
        The words alone could be said in anger or in joy.
        The words would fit an angry speaker as well as a happy one.
        Whether the speaker laughs cannot be told from the record.
        Nothing was measured about accent or breathing, so they stay out of this.
        The word _ alone may be joyful or bitter; the text does not decide.
        The text speaks of a loud party next door.
        Taken literally, the sentence is about falling leaves.
        The word _ names a happy event, but it is only a word.
        Had the speaker been angry, one would expect a faster tempo.
        It could be a joke or a threat; the transcript leaves that open.
        The phrase is one that people use when they are tired.
        Shouting as such would not settle it; joy can be loud too.
        Happy people may talk fast, and so may frightened ones.
        Loudness says little about sadness.
        A high pitch is found in joy as well as in fear.
        Fear and joy share a high pitch, so the words have to decide.
        The transcript mentions a scream, but that is somebody else's.
        The words _ could come from someone happy or from someone sad.
        The word _ suggests joy if read alone.
        From the text alone, fear would be as likely as surprise.
        The words report a quarrel, and quarrels are often loud.
        Low pay is what the words are about.
        It remains open whether the speaker is happy.
        No claim about a smile or a sigh can be made.
        Anger and disgust are the candidates; the record decides between them.
        The sentence contains the adjective _, which denotes sadness.
    """,
    "response": """
        Happy to help! The train leaves at nine.
        The coast road is the fast way; the other is slow.
        You could try a quieter room for your calls.
        I will call you back as quickly as possible.
        Have you checked whether the engine makes a rough noise?
        A hot tea often helps against a sore throat, if you like.
        That was a quick answer! Shall we go on?
        Sure, I'd be glad to explain it to you step by step.
        If you feel sad tomorrow, call me.
        I hope you have a calm evening.
        Let us talk about what would make you happy.
        Sounds great! See you at six.
        The fast train leaves at noon.
        That is a low price, you should take it.
        Angry customers usually call in the morning, so you may have to wait.
        Good question! The tower is ninety metres high.
        If the music is too loud for you, I can turn it down.
        The volume can be turned up with the left button.
        Have a calm and restful evening!
        Thank you, I have noted your order.
        A slow cooker would suit you.
        Would you like the window open? It is a warm day.
    """,
}

#: Nor here, and something is.
OF_THE_VOICE = {
    "answer": """
        The speaker asks someone to "close the door" and the voice is loud.
        The speaker asks somebody to close the door and sounds cheerful.
        The speaker murmurs the last word.
        Each syllable is dragged out.
        A booming announcement.
        An elderly gentleman orders coffee.
        Her voice is cracking.
        The talker sounds hoarse and worn.
        A young woman chats about the rain.
        The voice gets higher with every word.
        There is a long pause before the last word.
        The words tumble out.
        Spoken at a crawl.
        He is practically screaming.
        With a sob, the speaker asks for help.
        The speaker is out of breath.
        A cheerful voice asks for the time.
        Someone with a cold talks about work.
        The speaker has a lisp.
        The voice is bright and clear.
        A voice like velvet.
        The speech is slurred.
        Very quietly, the speaker asks for the bill.
        The speaker chokes up.
        The speaker can barely contain a laugh.
        The delivery is clipped and businesslike.
        Two people are talking at once.
        A door closes in the background.
        The pitch jumps by an octave.
        The voice is at 180 hertz on average.
        Nearly three seconds of silence follow.
        The intonation goes up at the end.
        The sentence ends on a high note.
        The speaker hardly raises the voice at all.
        He sounds as if he were about to cry.
        The volume drops with the final word.
        It is delivered in a flat, lifeless way.
        The speaker stresses the second word.
        A whispery voice.
        A boy reads out a list.
        The voice carries a note of despair.
        Unmistakably male.
        The person stutters over the first word.
        There's a rasp in the voice.
        It's the voice of a child.
        The speaker is hissing the words.
        One long, drawn-out moan.
        The speaker sniffles twice.
        A yawn can be heard.
        The tempo picks up in the second half.
        The voice lowers to a whisper.
        The voice is as deep as it gets.
        The last words are barely more than a breath.
        Barely a pause is made.
        Loudest at the beginning, then softer.
        The speaker mimics somebody.
        The speaker is close to the microphone.
        The recording echoes.
        There is a Scottish lilt.
        The laughter is nervous.
        The speaker's voice has a smoky quality.
        It sounds like a robot.
        The speaker is talking over someone.
        Eight syllables per second.
        About 70 decibels.
        The pitch averages 300 Hz.
        A pause of 1.8 seconds splits the sentence.
        The speaker is 40.
        At a rate of roughly 7 syllables per second.
        In his late forties, the man talks fast.
        A pensioner talks about the war.
        A senior citizen asks for help.
        Two women are talking.
        The pitch swoops upward.
        The energy drains away.
        The speech starts hesitantly and becomes fluent.
        The voice is the softest possible.
        Practically no pitch movement at all.
        The voice is slightly raised.
        The tempo is rather on the slow side.
        Emphatic and firm.
        The voice lingers on the vowel.
        The speaker exclaims it at full volume.
    """,
    "reasoning": """
        The low voice would have pointed towards something else.
        A loud voice speaks against the label.
        This speaks against sadness, and the voice is loud.
        A loud voice like this one, if anything.
        The high energy and the clenched delivery speak for it.
        In the middle of the sentence the speaker stops and swallows.
        The tempo is moderate and the voice has a slight tremor.
        There is a sad undertone.
        One hears a smile.
        The rate nearly doubles after the comma.
        The speaker's timbre is dark.
        The consonants are spat out.
        An old lady is speaking here.
        The final syllable is stretched.
        The line is noisy.
        The voice sounds metallic.
        The speaker hurries through it, swallowing half the endings.
        Joy is written all over this voice.
        The voice is full of contempt.
        It is said with a shrug.
        A bitter laugh follows.
        The shrillness of the voice gives it away.
        The lack of energy is striking.
        The delivery lacks any warmth.
        The speaker bites off the words.
        The speech is punctuated by gasps.
        The speaker puts weight on the last word.
        The pitch rises where a question mark would stand.
        She drops her voice at the end.
        The speaker is under stress.
        The words are ground out.
        The intensity peaks on the verb.
    """,
    "response": """
        You sound exhausted. Shall we stop?
        I can hear how angry you are.
        Why are you shouting? The meeting is at nine.
        Take a deep breath, you are talking so fast.
        Is that a dog barking behind you? The shop opens at nine.
        Sir, the office is on the left.
        Your voice is shaking.
        No need to shout!
        Such a tiny voice! What is your name?
        I love your accent.
        I hear a smile in your voice.
        Please stop shouting.
        You speak so softly that I can hardly hear you.
        Dry your tears.
        You have such a lovely voice.
        Catch your breath first.
    """,
}

#: Sound prose about a loud, high, fast and angry woman, and about a quiet, low, slow and sad man of 64.
ABOUT_LOUD = {
    "answer": """
        The speaker sounds angry: the voice is loud, high and fast.
        The speaking rate is fast.
        She is angry, as the loud voice and the quick tempo show.
        The voice of the woman has a high pitch.
        An angry woman says _ in a loud, fast voice with hardly any pauses.
        The pitch of the voice is high compared with other recordings.
        A woman speaking loudly and quickly, sounding angry.
    """,
    "reasoning": """
        The speaker's pitch is elevated and the loudness is well beyond what is usual.
        Her voice is loud and the pace is quick, with very few pauses between words.
        The high arousal, together with the raised volume, points to anger rather than joy.
        First, the acoustic evidence: a high pitch, high loudness and a fast rate all indicate strong activation.
        The words themselves are fairly ordinary and could be said in many moods, so the voice has to decide.
        Taken together, these cues are most consistent with anger.
        A happy speaker might also be loud and fast, but the wording does not support that.
        Although excitement could also raise the pitch, the overall picture suggests anger.
        There is little silence in the clip, which adds to the sense of urgency.
        The speaker dominates the exchange with an assertive delivery.
        Sadness can be ruled out, since the energy is high.
        Neutral speech would show a moderate pace and a normal pitch, which is not the case here.
        The wide pitch range shows that the intonation is lively and varied.
        It is unlikely to be fear, because the dominance is high.
        The phrase _ sounds like a complaint.
        The literal meaning of the words is harmless, but the delivery is not.
    """,
    "response": """
        I can hear that you are angry, and I understand why. Let's sort this out together.
        I'm really sorry this happened to you. You have every right to be upset. Shall we look at it step by step?
        That sounds really frustrating. What would help you most right now?
        Okay, I hear you. I will look into it straight away and get back to you within the hour.
        Thanks for telling me. The door will stay closed from now on, I promise.
        I understand. Would you rather I call you back when it is quieter?
        Let's take this one step at a time. What happened first?
    """,
}
ABOUT_QUIET = {
    "answer": """
        He sounds sad.
        The speaker is a man in his sixties.
        The voice is quiet and low, the tempo slow.
        No, the voice is not loud; it is quiet.
        An older man with a low, quiet voice.
    """,
    "reasoning": """
        The man speaks slowly and softly, with many long pauses.
        The pitch is low and hardly varies, so the delivery comes across as monotonous.
        Compared with typical speech, the volume is reduced and the tempo is slow.
        Were the speaker merely tired, the words would not be about a loss.
        Nothing here suggests anger: the voice is neither loud nor fast.
        The voice is not loud, not fast and not energetic.
        The pauses are long and frequent, which gives the speech a heavy feel.
        This combination is typical of sadness.
    """,
    "response": """
        I'm so sorry to hear that. Take all the time you need.
        That must be really hard for you. I'm here if you want to talk.
        You sound a bit down. Would you like some company?
        I hope things will look brighter soon. Is there someone who can be with you tonight?
        It's okay to feel sad about this. Do you want to tell me more?
        Losing somebody hurts. Would a short walk do you good?
    """,
}


@pytest.mark.parametrize(("column", "text"), lines(ELSEWHERE))
def test_what_is_said_of_something_else_is_no_claim(column, text):
    assert refused(column, text, {}) == []


@pytest.mark.parametrize(("column", "text"), lines(OF_THE_VOICE))
def test_what_is_said_of_the_voice_is_one(column, text):
    assert refused(column, text, {})


@pytest.mark.parametrize(("column", "text"), lines(ABOUT_LOUD))
def test_sound_prose_about_a_loud_voice_passes(column, text):
    assert refused(column, text, LOUD) == []


@pytest.mark.parametrize(("column", "text"), lines(ABOUT_QUIET))
def test_sound_prose_about_a_quiet_voice_passes(column, text):
    assert refused(column, text, QUIET) == []


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("The voice is loud.", QUIET), ("The tempo is fast.", QUIET), ("It is a woman.", QUIET),
        ("He sounds sad.", LOUD),
        ("The voice is not loud.", LOUD), ("The pitch of the voice is low.", LOUD), ("She speaks quietly.", LOUD),
        ("There are many long pauses.", LOUD), ("The speaker is in his thirties.", QUIET), ("He is a boy.", LOUD),
        ("A cheerful voice says it.", QUIET), ("The lack of energy is striking.", LOUD),
        ("It is said in a whisper.", QUIET),
    ],
)  # fmt: skip
def test_the_same_prose_about_the_other_voice_is_refused(text, facts):
    assert refused("answer", text, facts)
